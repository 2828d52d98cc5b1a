// Bodies of quic/: include in exactly one source file of a program (CMake's copse::quic does).
// Needs ngtcp2, its GnuTLS helper, GnuTLS and libsodium.
#pragma once

#include <copse/quic/impl/connection.ipp>
#include <copse/quic/impl/connection_receive.ipp>
#include <copse/quic/impl/connection_send.ipp>
#include <copse/quic/impl/connection_statistics.ipp>
#include <copse/quic/impl/datagram.ipp>
#include <copse/quic/impl/identity.ipp>
#include <copse/quic/impl/qlog.ipp>
#include <copse/quic/impl/stream.ipp>
#include <copse/quic/impl/tls.ipp>
// Last: it makes the handles that the others define.
#include <copse/quic/impl/accept.ipp>
#include <copse/quic/impl/dial.ipp>
#include <copse/quic/impl/endpoint.ipp>
#include <copse/quic/impl/endpoint_close.ipp>
#include <copse/quic/impl/endpoint_receive.ipp>
#include <copse/quic/impl/endpoint_send.ipp>
#include <copse/quic/impl/endpoint_sockets.ipp>

// What a user of copse needs: endpoints, streams, stores, fetching and providing, tickets. It compiles in
// at most twice the time of <asio/awaitable.hpp> (tools/check/compile_time). Included by name are:
//   core/{event,race,timer}.hpp         for authors of protocols: conditions, races, timeouts
//   bao/*.hpp but chunk_ranges.hpp      verified encoding and decoding on its own
//   codec/*.hpp                         the encodings: postcard, base32, hexadecimal
//   hash/parallel.hpp                   hashing one input with several threads
//   store/bits_core.hpp                 the record of a partial blob
//   sim/*.hpp                           the simulated world
// Written by tools/umbrella.
#pragma once

#include <copse/bao/chunk_ranges.hpp>
#include <copse/bao/error.hpp>
#include <copse/blob/collection.hpp>
#include <copse/blob/download.hpp>
#include <copse/blob/error.hpp>
#include <copse/blob/fetch.hpp>
#include <copse/blob/observe.hpp>
#include <copse/blob/provide.hpp>
#include <copse/blob/push.hpp>
#include <copse/blob/ticket.hpp>
#include <copse/blob/wire.hpp>
#include <copse/codec/error.hpp>
#include <copse/core/address.hpp>
#include <copse/core/asio.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/cancellation.hpp>
#include <copse/core/clock.hpp>
#include <copse/core/credit.hpp>
#include <copse/core/datagram.hpp>
#include <copse/core/duration.hpp>
#include <copse/core/entropy.hpp>
#include <copse/core/error.hpp>
#include <copse/core/file.hpp>
#include <copse/core/limits.hpp>
#include <copse/core/memory.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/rate_limit.hpp>
#include <copse/core/result.hpp>
#include <copse/core/run.hpp>
#include <copse/core/scope.hpp>
#include <copse/core/transport.hpp>
#include <copse/disk/leaf_pool.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/hash/digest.hpp>
#include <copse/quic/dial_report.hpp>
#include <copse/quic/endpoint.hpp>
#include <copse/quic/endpoint_statistics.hpp>
#include <copse/quic/identity.hpp>
#include <copse/quic/qlog.hpp>
#include <copse/store/blob_store.hpp>
#include <copse/store/error.hpp>
#include <copse/store/folder_store.hpp>
#include <copse/store/import.hpp>
#include <copse/store/memory_store.hpp>
#include <copse/store/reference_store.hpp>
#include <copse/udp/socket.hpp>

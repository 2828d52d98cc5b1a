// The getter's requests.
#pragma once

#include <copse/blob/fetch.hpp>
#include <copse/blob/impl/receive.ipp>

#include <utility>

namespace copse::blob {

std::string fetch_diagnostics::to_string() const
{
    endpoint_id from = peer;
    hash::digest id;
    id.bytes = from.bytes;
    return "blob " + hash::to_hex(hash) + " at byte " + std::to_string(offset) + " from " +
           hash::to_hex(id);
}

namespace detail {

// Sends `bytes`, the whole request, and receives the answer.
inline awaitable<result<fetch_report>> ask(std::shared_ptr<connection> c, selection wanted,
                                           std::vector<std::byte> bytes, fetch_environment& env,
                                           fetch_options options, fetch_diagnostics& where)
{
    const executor ex = c->get_executor();
    where.peer = c->peer();
    receive_session session(ex, std::move(wanted), env, std::move(options), where,
                            wire_code::dropped);
    const auto ready = co_await session.prepare();
    if (!ready) co_return ready.error();
    auto opened = co_await c->open_bi();
    if (!opened) co_return opened.error();
    bidi_stream stream = std::move(opened).assume_value();
    const auto sent = co_await stream.send->write_copy(bytes);
    if (!sent) co_return sent.error();
    stream.send->finish();
    auto received = co_await session.run(*stream.recv);
    co_return received;
}

inline awaitable<result<fetch_report>> ask_many(std::shared_ptr<connection> c,
                                                get_many_request wanted, fetch_environment& env,
                                                fetch_options options, fetch_diagnostics& where)
{
    if (wanted.hashes.size() > max_get_many_hashes) co_return blob_errc::request_too_large;
    std::vector<std::byte> bytes = encode_request(wanted);
    selection blobs(std::move(wanted));
    auto received = co_await ask(std::move(c), std::move(blobs), std::move(bytes), env,
                                 std::move(options), where);
    co_return received;
}

}  // namespace detail

awaitable<result<fetch_report>> fetch(std::shared_ptr<connection> c, get_request wanted,
                                      fetch_environment& env, fetch_options options,
                                      fetch_diagnostics& where)
{
    std::vector<std::byte> bytes = encode_request(wanted);
    return detail::ask(std::move(c), detail::selection(std::move(wanted)), std::move(bytes), env,
                       std::move(options), where);
}

awaitable<result<fetch_report>> fetch_many(std::shared_ptr<connection> c, get_many_request wanted,
                                           fetch_environment& env, fetch_options options,
                                           fetch_diagnostics& where)
{
    return detail::ask_many(std::move(c), std::move(wanted), env, std::move(options), where);
}

}  // namespace copse::blob

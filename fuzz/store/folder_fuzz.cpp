// A folder store whose files were damaged: it opens or says why not, never serves a wrong byte, believes
// after a restart only what it verified, and completes a blob whatever it found of it.
#include <copse/bao/encode_core.hpp>
#include <copse/bao/outboard.hpp>
#include <copse/sim/disk.hpp>
#include <copse/sim/world.hpp>
#include <copse/store/error.hpp>
#include <copse/store/folder_store.hpp>

// libFuzzer's timeouts are about real time.
#define COPSE_SIM_REAL_CLOCK
#include <copse/sim/interpose.ipp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

using namespace copse;

namespace {

constexpr std::size_t max_damages = 16;

void require(bool good, std::source_location at = std::source_location::current())
{
    if (good) return;
    std::fprintf(stderr, "line %u does not hold\n", static_cast<unsigned>(at.line()));
    std::abort();
}

struct known_blob {
    explicit known_blob(unsigned step)
    {
        for (std::size_t i = 0; i < 270'000; ++i)
            data.push_back(static_cast<std::byte>((i * step + i / 1024) % 251));
        outboard = bao::outboard::build(data);
        root = outboard->root();
    }
    [[nodiscard]] std::uint64_t chunks() const { return bao::chunk_count(data.size()); }

    std::vector<std::byte> data;
    std::optional<bao::outboard> outboard;
    hash::digest root;
};

// Whole groups of a blob, with the pairs above them.
result<void> deliver(store::blob_writer& to, const known_blob& blob, std::uint64_t first,
                     std::uint64_t end)
{
    const auto from = bao::byte_offset(first);
    const auto until = bao::byte_end(end, blob.data.size());
    const auto part = byte_view(blob.data).subspan(static_cast<std::size_t>(from),
                                                   static_cast<std::size_t>(until - from));
    COPSE_TRYV(to.write(part, from));
    std::vector<store::pair_run> pairs;
    bao::for_each_upper_pair(blob.data.size(), 1, [&](bao::subtree node, std::uint64_t index) {
        if (node.first < end && first < node.end()) {
            pairs.push_back({index, blob.outboard->pair(index)});
        }
    });
    to.commit(bao::chunk_ranges::range(first, end), pairs);
    return outcome::success();
}

store::folder_options buffered()
{
    store::folder_options o;
    o.direct = false;
    return o;
}

struct saved_file {
    std::string path;
    std::vector<std::byte> bytes;
};

// What is on the disk before the damage: a complete blob and a part of another.
struct fixture {
    fixture()
    {
        sim::world w(1);
        sim::machine& m = w.add_machine("writer");
        sim::disk disk(w, m);
        const auto fs = disk.mount();
        {
            auto opened = store::folder_store::open(*fs, "/s", buffered());
            require(opened.has_value());
            auto a = opened.value()->open_partial(complete.root, complete.data.size()).value();
            require(deliver(*a, complete, 0, complete.chunks()).has_value());
            require(a->checkpoint()().has_value());
            require(a->finish(true)().has_value());
            auto b = opened.value()->open_partial(partial.root, partial.data.size()).value();
            require(deliver(*b, partial, 0, 16).has_value());
            require(deliver(*b, partial, 64, 112).has_value());
            require(b->checkpoint()().has_value());
            require(deliver(*b, partial, 256, partial.chunks()).has_value());
            require(b->checkpoint()().has_value());
        }
        const auto listed = fs->list("/s", [&](const std::string& name) -> result<void> {
            saved_file out{"/s/" + name, {}};
            COPSE_TRY(auto file, fs->open(out.path, {}));
            COPSE_TRY(const auto size, file->size());
            out.bytes.resize(static_cast<std::size_t>(size));
            COPSE_TRYV(file->read_at(byte_span(out.bytes), 0));
            files.push_back(std::move(out));
            return outcome::success();
        });
        require(listed && files.size() >= 5);
    }

    known_blob complete{3};
    known_blob partial{7};
    std::vector<saved_file> files;
};

const fixture& shared()
{
    static const fixture f;
    return f;
}

result<void> write_file(file_system& fs, const std::string& path, byte_view bytes,
                        std::uint64_t at = 0)
{
    open_options how;
    how.write = true;
    how.create = true;
    COPSE_TRY(auto file, fs.open(path, how));
    COPSE_TRYV(file->write_at(bytes, at));
    return file->sync();
}

std::uint64_t number(byte_view& in, std::size_t bytes)
{
    std::uint64_t out = 0;
    for (; bytes > 0 && !in.empty(); --bytes) {
        out = out << 8 | std::to_integer<std::uint64_t>(in.front());
        in = in.subspan(1);
    }
    return out;
}

// Faults of one file: bytes changed, cut, extended, taken away, or under another name.
result<void> damage(file_system& fs, byte_view& in)
{
    const auto& files = shared().files;
    const std::uint64_t what = number(in, 1);
    const saved_file& victim = files[what / 8 % files.size()];
    const saved_file& other = files[number(in, 1) % files.size()];
    open_options writing;
    writing.write = true;
    switch (what % 8) {
    case 0:
    case 1: {  // some bytes, from the start or the middle
        const std::uint64_t at = number(in, what % 8 == 0 ? 1 : 3) % (victim.bytes.size() + 64);
        const std::uint64_t wanted = number(in, 1) % 32;
        const std::size_t n = std::min(static_cast<std::size_t>(wanted), in.size());
        const auto bytes = in.first(n);
        in = in.subspan(n);
        return write_file(fs, victim.path, bytes, at);
    }
    case 2: {  // one bit
        const std::size_t at = static_cast<std::size_t>(number(in, 3)) % (victim.bytes.size() + 1);
        if (at == victim.bytes.size()) return outcome::success();
        const std::byte flipped = victim.bytes[at] ^ std::byte(1U << number(in, 1) % 8);
        return write_file(fs, victim.path, std::span(&flipped, 1), at);
    }
    case 3: {
        COPSE_TRY(auto file, fs.open(victim.path, writing));
        return file->truncate(number(in, 3) % (victim.bytes.size() + 1));
    }
    case 4: {
        COPSE_TRY(auto file, fs.open(victim.path, writing));
        return file->truncate(victim.bytes.size() + number(in, 2));
    }
    case 5: return fs.remove_file(victim.path);
    case 6: return write_file(fs, victim.path, other.bytes);
    default: return fs.rename(victim.path, other.path, true);
    }
}

// Encodes what the reader says it has, as a provider does. Data that passes is true.
void serve(store::blob_reader& from, const known_blob& blob)
{
    const auto present = from.present();
    constexpr std::size_t extent_groups = 4;
    bao::encode_core core(blob.root, from.size(), present, extent_groups);
    bao::mismatch where;
    for (;;) {
        if (core.step() == bao::encode_core::step_kind::done) return;
        if (core.step() == bao::encode_core::step_kind::pair) {
            const auto pair = from.pair(core.pair().node);
            if (!pair || !core.supply(pair.value(), where)) return;
            continue;
        }
        const auto job = core.take_extent();
        std::vector<std::byte> data(job.length());
        std::vector<std::byte> pairs(job.whole ? 0 : (job.groups() - 1) * bao::pair_size);
        const auto groups = job.needed_groups();
        for (std::size_t i = 0; i < groups.interval_count(); ++i) {
            const auto part = groups.interval(i);
            const auto begin = static_cast<std::size_t>(bao::byte_offset(part.first));
            const auto end = static_cast<std::size_t>(bao::byte_end(part.end, from.size()));
            const auto into = byte_span(data).subspan(
                begin - static_cast<std::size_t>(job.offset()), end - begin);
            if (!from.read(std::span(&into, 1), begin)) return;
        }
        if (!pairs.empty() && !from.read_pairs(job.pair_index, pairs)) return;
        std::vector<std::byte> out(job.wire_bytes);
        if (!bao::encode_extent(job, data, pairs, out, where)) return;
        for (std::size_t i = 0; i < groups.interval_count(); ++i) {
            const auto part = groups.interval(i);
            const auto begin = static_cast<std::size_t>(bao::byte_offset(part.first));
            const auto end = static_cast<std::size_t>(bao::byte_end(part.end, from.size()));
            require(end <= blob.data.size());
            const auto served = byte_view(data).subspan(
                begin - static_cast<std::size_t>(job.offset()), end - begin);
            require(std::equal(served.begin(), served.end(),
                               blob.data.begin() + static_cast<std::ptrdiff_t>(begin)));
        }
    }
}

// After a restart nothing of a partial blob is believed unseen: even plain reads are true.
void read_plainly(store::blob_reader& from, const known_blob& blob)
{
    const auto present = from.present();
    for (std::size_t i = 0; i < present.interval_count(); ++i) {
        const auto part = present.interval(i);
        const auto begin = static_cast<std::size_t>(bao::byte_offset(part.first));
        const auto end = static_cast<std::size_t>(bao::byte_end(part.end, from.size()));
        std::vector<std::byte> data(end - begin);
        const byte_span into(data);
        require(from.read(std::span(&into, 1), begin).has_value());
        require(end <= blob.data.size());
        require(std::equal(data.begin(), data.end(),
                           blob.data.begin() + static_cast<std::ptrdiff_t>(begin)));
    }
}

void look(store::folder_store& in, const known_blob& blob, bool restarted)
{
    const auto status = in.status(blob.root);
    if (!status) return;
    require(status.value().present.clipped(0, bao::chunk_count(status.value().size)) ==
            status.value().present);
    const auto reader = in.open(blob.root);
    if (!reader) return;
    serve(*reader.value(), blob);
    if (restarted && !status.value().complete()) read_plainly(*reader.value(), blob);
}

// Receives what is missing. What was lost comes again, and the blob ends complete.
void receive(store::folder_store& in, const known_blob& blob, bool restarted)
{
    auto opened = in.open_partial(blob.root, blob.data.size());
    if (!opened) return;
    store::blob_writer& writer = *opened.value();
    const auto before = in.status(blob.root);
    const bool was_complete = before && before.value().complete();
    for (std::uint64_t at = 0; at < blob.chunks(); at += 16) {
        const std::uint64_t end = std::min(at + 16, blob.chunks());
        if (writer.present().covers(at, end)) continue;
        if (!deliver(writer, blob, at, end)) return;
    }
    if (!writer.checkpoint()() || !writer.finish(true)()) return;
    opened.value().reset();
    const auto reader = in.open(blob.root);
    require(reader.has_value() || was_complete);  // complete, with damaged pairs: corrupt_state
    if (!reader) return;
    serve(*reader.value(), blob);
    if (restarted && !was_complete) read_plainly(*reader.value(), blob);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const fixture& f = shared();
    byte_view in = std::as_bytes(std::span(data, size));
    const std::uint64_t settings = number(in, 1);
    const bool restart = settings & 1;
    sim::world w(settings);
    sim::machine& m = w.add_machine("reader");
    sim::disk disk(w, m);
    auto fs = disk.mount();
    require(fs->make_directory("/s").has_value());
    for (const auto& file : f.files) require(write_file(*fs, file.path, file.bytes).has_value());
    require(fs->sync_directory("/s").has_value() && fs->sync_directory("/").has_value());
    for (std::size_t i = 0; i < max_damages && !in.empty(); ++i) {
        const auto done = damage(*fs, in);
        static_cast<void>(done);  // a file that an earlier damage took away
    }
    if (restart) {
        // A rename half undone would leave one file under two names.
        require(fs->sync_directory("/s").has_value());
        m.crash();
        disk.crash();
        fs = disk.mount();
    }
    for (int life = 0; life < 2; ++life) {
        auto opened = store::folder_store::open(*fs, "/s", buffered());
        if (!opened) break;
        for (const auto* blob : {&f.complete, &f.partial}) {
            look(*opened.value(), *blob, restart);
            if (settings & 2) receive(*opened.value(), *blob, restart);
            if (settings & 4) {
                const auto removed = opened.value()->remove(blob->root);
                if (removed) require(opened.value()->status(blob->root).value().present.empty());
            }
        }
    }
    return 0;
}

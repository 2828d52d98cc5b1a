#include "workplace.hpp"

#include <copse/bao/geometry.hpp>
#include <copse/blob/collection.hpp>
#include <copse/codec/hex.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/store/error.hpp>

#include <filesystem>
#include <set>
#include <utility>
#include <vector>

namespace app {

namespace {

/// A complete blob, whole, if it is what its hash says.
std::optional<std::vector<std::byte>> read_whole(store::blob_store& from, const hash::digest& root,
                                                 std::uint64_t limit)
{
    const auto about = from.status(root);
    if (!about || !about.assume_value().complete() || about.assume_value().size > limit) {
        return std::nullopt;
    }
    const auto reader = from.open(root);
    if (!reader) return std::nullopt;
    std::vector<std::byte> bytes(static_cast<std::size_t>(about.assume_value().size));
    const byte_span part(bytes);
    const auto read = reader.assume_value()->read(std::span(&part, 1), 0);
    if (!read || hash::blake3_hash(bytes) != root) return std::nullopt;
    return bytes;
}

}  // namespace

step<bool> workplace::make_folder(const std::string& path)
{
    const auto made = fs_->make_directory(path);
    if (!made && made.error() != std::errc::file_exists) {
        return fail(made.error(), "folder " + shown_path(path));
    }
    const auto about = fs_->status(path);
    if (!about) return fail(about.error(), "folder " + shown_path(path));
    if (about.assume_value().kind != file_kind::directory) {
        return fail(exit_code::files, shown_path(path) + " is not a folder, and links are not "
                                                         "followed; remove it");
    }
    return made.has_value();
}

step<workplace> workplace::open(file_system& fs, const std::string& destination,
                                const hash::digest& root)
{
    std::error_code ec;
    const bool made = std::filesystem::create_directories(destination, ec);
    if (ec) return fail(ec, "folder " + shown_path(destination));
    workplace out(fs, destination, made);
    out.root_ = root;
    out.outer_ = destination + "/" + std::string(blob::partial_folder);
    out.inner_ = out.outer_ + "/" + hash::to_hex(root);
    COPSE_TRYV(out.make_folder(out.outer_));
    COPSE_TRY(out.fresh_, out.make_folder(out.inner_));
    auto opened = store::folder_store::open(fs, out.inner_);
    if (!opened && opened.error() == store::store_errc::busy) {
        return fail(exit_code::files, "another process receives the same into " +
                                          shown_path(destination) + "; wait for it");
    }
    if (!opened) return fail(opened.error(), "folder " + shown_path(out.inner_));
    out.store_ = std::move(opened).assume_value();
    return out;
}

std::optional<blob::manifest> workplace::stored_names()
{
    const auto bytes = read_whole(*store_, root_, blob::max_hash_sequence_bytes);
    if (!bytes) return std::nullopt;
    const auto sequence = blob::hash_sequence::from_bytes(*bytes);
    if (!sequence || sequence.assume_value().empty()) return std::nullopt;
    blob::manifest out;
    out.root = root_;
    for (std::size_t i = 0; i < sequence.assume_value().size(); ++i) {
        out.hashes.push_back(sequence.assume_value()[i]);
    }
    const auto meta = read_whole(*store_, out.hashes[0], blob::max_collection_meta_bytes);
    if (!meta) return std::nullopt;
    auto names = blob::decode_collection_meta(*meta, out.hashes.size());
    if (!names) return std::nullopt;
    out.names = std::move(names).assume_value();
    return out;
}

std::optional<blob::manifest> workplace::stored_manifest(const destination& to)
{
    auto known = stored_names();
    if (!known || !blob::check_names(known->names)) return std::nullopt;
    blob::manifest& out = *known;
    for (std::size_t i = 0; i < out.names.size(); ++i) {
        const auto size = stored_size(out.hashes[i + 1], out.names[i], to, false);
        if (!size) return std::nullopt;
        out.sizes.push_back(*size);
    }
    return known;
}

std::optional<std::uint64_t> workplace::stored_size(const hash::digest& blob, std::string_view name,
                                                    const destination& to, bool partial)
{
    const auto about = store_->status(blob);
    if (about && (partial ? about.assume_value().size_proven : about.assume_value().complete())) {
        return about.assume_value().size;
    }
    const auto file = fs_->status(to.path_of(name));
    if (!file || file.assume_value().kind != file_kind::regular) return std::nullopt;
    return file.assume_value().size;
}

bool workplace::remove()
{
    std::set<std::string> blobs;
    // Whatever blob it is: files in the store are named by their hash, then a dot.
    const auto listed = fs_->list(inner_, [&blobs](const std::string& name) -> result<void> {
        blobs.insert(name.substr(0, name.find('.')));
        return outcome::success();
    });
    static_cast<void>(listed);  // what is left shows below
    for (const std::string& name : blobs) {
        hash::digest hash;
        if (!codec::decode_hex(name, hash.bytes)) continue;
        static_cast<void>(store_->remove(hash));  // what is left shows below
    }
    const auto gone = store_->remove_if_empty();
    store_.reset();
    remove_outer_folders();
    return gone && gone.assume_value();
}

void workplace::remove_if_unused()
{
    if (!store_) return;
    static_cast<void>(store_->remove_if_empty());  // a folder that is in use stays
    store_.reset();
    remove_outer_folders();
}

// Folders that are not empty stay: other downloads use them.
void workplace::remove_outer_folders()
{
    static_cast<void>(fs_->remove_directory(outer_));
    if (made_destination_) static_cast<void>(fs_->remove_directory(destination_));
}

resumed_store::resumed_store(store::blob_store& inner, const std::vector<target_file>& files)
    : inner_(inner)
{
    std::set<hash::digest> wanted;
    for (const target_file& file : files) {
        if (!file.in_place) wanted.insert(file.hash);
    }
    for (const target_file& file : files) {
        if (!wanted.contains(file.hash)) placed_.emplace(file.hash, file.size);
    }
}

result<store::availability> resumed_store::status(const hash::digest& root)
{
    const auto found = placed_.find(root);
    if (found == placed_.end()) return inner_.status(root);
    store::availability out;
    out.size = found->second;
    out.size_proven = true;
    out.present = bao::chunk_ranges::range(0, bao::chunk_count(out.size));
    return out;
}

}  // namespace app

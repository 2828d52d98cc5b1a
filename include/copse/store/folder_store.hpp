// Blobs in a directory: what a receiver writes, made to resume after kill -9 and after power loss.
#pragma once

#include <copse/core/duration.hpp>
#include <copse/core/file.hpp>
#include <copse/store/blob_store.hpp>

#include <cstdint>
#include <memory>
#include <string>

namespace copse::store {

/// How a folder store writes.
struct folder_options {
    bool direct = true;  ///< bypass the page cache for large blobs, where the file system can
    std::uint64_t direct_threshold = std::uint64_t{1} << 20;  ///< bytes of the smallest such blob
    std::uint64_t checkpoint_bytes = std::uint64_t{4} << 20;  ///< committed bytes that make one due
    /// Time since the last that makes one due.
    std::chrono::nanoseconds checkpoint_interval = std::chrono::seconds(1);
};

/// A directory of blobs. Files of the blob with hash H (64 hexadecimal digits):
///
/// | name | content |
/// | --- | --- |
/// | H.part | data of a partial blob: chunks not received yet are holes or zeros |
/// | H.data | data of a complete blob that survives power loss |
/// | H.new | data of a complete blob that was not synced; becomes H.data when checked after a restart |
/// | H.obao4 | hash pairs above 16 KiB groups in pre-order, as far as present; complete blobs of at most 256 KiB have none |
/// | H.bits | which groups of a partial blob are present (bits_core.hpp) |
/// | lock | held by the process that has the store; its text is the boot id |
///
/// *Visible*: what a checkpoint job recorded is found again after kill -9. *Durable*: after power
/// loss (the boot id changed) records are not believed; what is present is found by verifying data
/// and pairs from the root, and a blob finished as durable is complete.
/// \par Limits   memory: a few hundred bytes an open blob, and per writer 64 bytes for each hash pair
///               committed since its last checkpoint (64 KiB a 16 MiB) and 24 a run of them.
/// \par Threads  blocking calls from any thread.
/// \par Lifetime readers and writers keep the folder locked until they are released.
class folder_store final : public blob_store {
public:
    /// Opens or makes the directory (not its parents). Blocking; after a restart of the machine it
    /// verifies the blobs that were complete but not synced.
    /// \param fs must outlive the store and all it opened.
    /// \par Errors store_errc::busy when another process (or store object) has it, the system's.
    static result<std::shared_ptr<folder_store>> open(file_system& fs, std::string path,
                                                      folder_options options = {});
    ~folder_store() override;

    result<availability> status(const hash::digest& root) override;
    result<std::shared_ptr<blob_reader>> open(const hash::digest& root) override;
    /// A size other than an earlier provider claimed is accepted while neither is proven: what is
    /// present is then found again by verification with the new one. For a complete blob the writer
    /// has everything present and ignores writes.
    result<std::shared_ptr<blob_writer>> open_partial(const hash::digest& root,
                                                      std::uint64_t size) override;
    std::shared_ptr<void> watch(const hash::digest& root, std::function<void()> changed) override;

    /// Moves a complete blob out of the store, to a path on the same file system, and forgets it.
    /// Blocking. Sync the target's directory afterwards for durability.
    /// \param replace false: an existing target fails with std::errc::file_exists.
    /// \par Errors store_errc::incomplete, store_errc::busy (a writer has it), the system's.
    result<void> take(const hash::digest& root, const std::string& target, bool replace);
    /// Copies a complete blob to a path on the same file system, which gets its name when whole.
    /// Blocking. For collections that name a blob twice: copy all but the last, take the last.
    /// \par Errors as take().
    result<void> copy(const hash::digest& root, const std::string& target, bool replace);
    /// Forgets a blob, complete or partial. Blocking.
    /// \par Errors store_errc::missing, store_errc::busy (a writer has it), the system's.
    result<void> remove(const hash::digest& root);
    /// Verifies a blob, complete or partial, and gives up what does not prove to be right, so that it is
    /// fetched again: for a blob that rotted, whose files contradict each other, or that a provider
    /// could not send (`blob::provide_report::failed_blob`). What lies below lost hash pairs goes with
    /// them. Blocking: reads all of it, and meanwhile nothing else is opened.
    /// \return what is left, which may be nothing.
    /// \par Errors store_errc::missing, store_errc::busy (a writer has it), the system's; then nothing
    ///             was given up.
    result<availability> repair(const hash::digest& root);
    /// Removes the directory if the lock is all that is left in it. The store must not be used
    /// afterwards. Blocking. \return whether it is gone.
    result<bool> remove_if_empty();

    /// The directory.
    [[nodiscard]] const std::string& path() const noexcept;

    class state;  ///< not API: shared with readers and writers

private:
    explicit folder_store(std::shared_ptr<state> shared);
    std::shared_ptr<state> state_;
};

}  // namespace copse::store

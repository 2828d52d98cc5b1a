// Runs files through a fuzz target without libFuzzer, so that any compiler replays seeds and old
// crashes: replay FOLDER... Each file is also tried cut short at a few places.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

// A buffer of exactly that size, so that a sanitizer sees a read past its end.
void run(const std::vector<char>& input, std::size_t size)
{
    const std::vector<std::uint8_t> bytes(input.begin(),
                                          input.begin() + static_cast<std::ptrdiff_t>(size));
    static_cast<void>(LLVMFuzzerTestOneInput(bytes.data(), bytes.size()));  // always 0
}

}  // namespace

int main(int argc, char** argv)
{
    int inputs = 0;
    for (int i = 1; i < argc; ++i) {
        if (!std::filesystem::is_directory(argv[i])) continue;  // a target without old crashes
        std::vector<std::filesystem::path> files;
        for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
            if (entry.is_regular_file()) files.push_back(entry.path());
        }
        std::sort(files.begin(), files.end());
        std::fprintf(stderr, "%s:", argv[i]);
        for (const auto& path : files) {
            // The last one named is the one that failed.
            std::fprintf(stderr, " %s", path.filename().c_str());
            std::ifstream file(path, std::ios::binary);
            const std::vector<char> input(std::istreambuf_iterator<char>(file), {});
            run(input, input.size());
            for (const std::size_t part : {1U, 4U, 7U}) run(input, input.size() * part / 8);
            if (!input.empty()) run(input, input.size() - 1);
            ++inputs;
        }
        std::fprintf(stderr, "\n");
    }
    if (inputs == 0) {
        std::fprintf(stderr, "no input found\n");
        return 1;
    }
    std::printf("All tests passed (%d inputs in 1 test case)\n", inputs);
}

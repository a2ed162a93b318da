// SPDX-License-Identifier: MIT
#include "map_dump.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <unordered_set>

#include "batch.h"
#include "options.h"

namespace
{

constexpr size_t kFirstChunkBytes = 256u << 10;

/** More steps than this and the map is not being read any more, only chased. */
size_t MostSteps(const MapShape &shape)
{
    return size_t{shape.maxEntries} * 4 + 4096;
}

/** Traversal of a trie restarts when the key it stands on is removed, and hands out the same keys again. */
void DropDuplicates(const MapShape &shape, Snapshot &snapshot)
{
    std::unordered_set<std::string_view> seen;
    seen.reserve(snapshot.count);
    std::vector<size_t> unique;
    unique.reserve(snapshot.count);
    for (size_t i = 0; i < snapshot.count; i++) {
        const auto *key = reinterpret_cast<const char *>(&snapshot.keys[i * shape.keySize]);
        if (seen.emplace(key, shape.keySize).second)
            unique.push_back(i);
    }
    if (unique.size() == snapshot.count)
        return;
    Snapshot result;
    for (const size_t i : unique) {
        const uint8_t *key = &snapshot.keys[i * shape.keySize];
        const uint8_t *value = &snapshot.values[i * shape.valueSize];
        result.keys.insert(result.keys.end(), key, key + shape.keySize);
        result.values.insert(result.values.end(), value, value + shape.valueSize);
    }
    result.count = unique.size();
    snapshot = std::move(result);
}

int DumpByBatch(int fd, const MapShape &shape, Snapshot &snapshot)
{
    auto options = Options<bpf_map_batch_opts>();
    const size_t element = std::max<size_t>(1, shape.keySize + shape.valueSize);
    size_t chunk = std::clamp<size_t>(kFirstChunkBytes / element, 1, std::max<size_t>(1, shape.maxEntries));
    // The position is a bucket number for hashes and a key for everything else.
    std::vector<uint8_t> position(std::max<size_t>(shape.keySize, sizeof(uint32_t)));
    std::vector<uint8_t> next(position.size());
    bool started = false;
    while (snapshot.count <= MostSteps(shape)) {
        snapshot.keys.resize((snapshot.count + chunk) * shape.keySize);
        snapshot.values.resize((snapshot.count + chunk) * shape.valueSize);
        uint32_t count = static_cast<uint32_t>(chunk);
        const int failed = bpf_map_lookup_batch(
            fd, started ? position.data() : nullptr, next.data(), &snapshot.keys[snapshot.count * shape.keySize],
            snapshot.values.data() + snapshot.count * shape.valueSize, &count, &options);
        const int error = failed ? errno : 0;
        if (error == ENOSPC && chunk < MostSteps(shape)) {
            chunk *= 2; // one bucket holds more than fits
            continue;
        }
        if (error && error != ENOENT)
            return error;
        snapshot.count += count;
        if (error == ENOENT) {
            snapshot.keys.resize(snapshot.count * shape.keySize);
            snapshot.values.resize(snapshot.count * shape.valueSize);
            if (!shape.array() && !shape.hash())
                DropDuplicates(shape, snapshot);
            return 0;
        }
        position.swap(next);
        started = true;
    }
    return EAGAIN;
}

int DumpOneByOne(int fd, const MapShape &shape, Snapshot &snapshot)
{
    std::unordered_set<std::string> seen;
    std::vector<uint8_t> key(shape.keySize), next(shape.keySize), value(shape.valueSize);
    bool started = false;
    for (size_t steps = 0; steps <= MostSteps(shape); steps++) {
        if (bpf_map_get_next_key(fd, started ? key.data() : nullptr, next.data()))
            return errno == ENOENT ? 0 : errno;
        key.swap(next);
        started = true;
        // A key whose predecessor was removed meanwhile: the kernel started over.
        if (!shape.array() && !seen.emplace(reinterpret_cast<const char *>(key.data()), key.size()).second)
            continue;
        if (bpf_map_lookup_elem(fd, key.data(), value.data())) {
            if (errno == ENOENT)
                continue; // removed since, or an empty slot
            return errno;
        }
        snapshot.keys.insert(snapshot.keys.end(), key.begin(), key.end());
        snapshot.values.insert(snapshot.values.end(), value.begin(), value.end());
        snapshot.count++;
    }
    return EAGAIN;
}

} // namespace

int DumpMap(int fd, const MapShape &shape, bool batch, Snapshot &snapshot)
{
    if (shape.keyless())
        return kNotSupported;
    if (batch) {
        const int error = DumpByBatch(fd, shape, snapshot);
        if (!NoBatch(error))
            return error;
        snapshot = {};
    }
    return DumpOneByOne(fd, shape, snapshot);
}

// SPDX-License-Identifier: MIT
#pragma once
#include "map_shape.h"

#include <cstdint>
#include <vector>

struct Snapshot {
    size_t count = 0;
    std::vector<uint8_t> keys;   // count × key size
    std::vector<uint8_t> values; // count × user value size
};

/**
 * Every element that was there throughout, none twice; elements that came or went meanwhile may or may not be in it.
 * (Tries: the kernel's own walk can step over a branch that is being changed at that moment.)
 * With `batch`, BPF_MAP_LOOKUP_BATCH (5.6) where the kernel and the map type have it, else one by one.
 * 0, an errno, or EAGAIN when the map kept changing faster than it could be read.
 */
int DumpMap(int fd, const MapShape &shape, bool batch, Snapshot &snapshot);

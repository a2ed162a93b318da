// SPDX-License-Identifier: MIT
// Many elements in one system call, and one by one where the kernel has no such call for this map.
#include <bpf/bpf.h>

#include "batch.h"
#include "map.h"
#include "map_dump.h"
#include "options.h"

namespace
{

/** Copied into memory of V8's own: what it does not own it neither counts nor frees before the next turn of the loop.
 */
Napi::Value ToBuffer(Napi::Env env, std::vector<uint8_t> &&bytes)
{
    const std::vector<uint8_t> taken = std::move(bytes);
    return Napi::Buffer<uint8_t>::Copy(env, taken.data(), taken.size());
}

/**
 * How many elements a failed batch had done. The kernel writes the number back, except when it refuses the command as
 * a whole: then the number is still the one that went in.
 */
uint32_t Done(uint32_t asked, uint32_t reported)
{
    return reported >= asked ? 0 : reported;
}

} // namespace

Napi::Value Map::Dump(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    const int fd = Fd(env, "map dump");
    Snapshot snapshot;
    if (const int error = DumpMap(fd, shape_, Arguments(info, "map dump").Flag(0, "batch"), snapshot))
        Fail(env, error, "map dump", subject_);
    Napi::Object result = Napi::Object::New(env);
    result["count"] = static_cast<double>(snapshot.count);
    result["keys"] = ToBuffer(env, std::move(snapshot.keys));
    result["values"] = ToBuffer(env, std::move(snapshot.values));
    return result;
}

/** (keys, values, count, batch) */
void Map::UpdateBatch(const Napi::CallbackInfo &info)
{
    const int fd = Fd(info.Env(), "map update batch");
    const Arguments arguments(info, "map update batch");
    const uint32_t count = arguments.U32(2, "count");
    const Bytes keys = arguments.ExactBytes(0, "keys", size_t{count} * shape_.keySize);
    const Bytes values = arguments.ExactBytes(1, "values", count * shape_.valueSize);
    bool batch = arguments.Flag(3, "batch");
    const auto fail = [&](uint32_t done) {
        throw ToError(info.Env(), Failure{errno, "map update batch", subject_, "", done});
    };
    if (shape_.keyless()) {
        errno = kNotSupported;
        fail(0);
    }
    uint32_t done = 0;
    auto options = Options<bpf_map_batch_opts>();
    while (batch && done < count) {
        const uint32_t asked = count - done;
        uint32_t reported = asked;
        const bool failed = bpf_map_update_batch(fd, keys.data + size_t{done} * shape_.keySize,
                                                 values.data + done * shape_.valueSize, &reported, &options) != 0;
        done += failed ? Done(asked, reported) : asked;
        if (!failed)
            return;
        if (!NoBatch(errno))
            fail(done);
        batch = false;
    }
    for (; done < count; done++)
        if (bpf_map_update_elem(fd, keys.data + size_t{done} * shape_.keySize, values.data + done * shape_.valueSize,
                                BPF_ANY))
            fail(done);
}

/** (keys, count, batch): how many were there. A missing key stops the kernel's batch; it goes on after it. */
Napi::Value Map::RemoveBatch(const Napi::CallbackInfo &info)
{
    const int fd = Fd(info.Env(), "map delete batch");
    const Arguments arguments(info, "map delete batch");
    const uint32_t count = arguments.U32(1, "count");
    const Bytes keys = arguments.ExactBytes(0, "keys", size_t{count} * shape_.keySize);
    bool batch = arguments.Flag(2, "batch");
    uint32_t position = 0, removed = 0;
    auto options = Options<bpf_map_batch_opts>();
    while (position < count) {
        uint8_t *const key = keys.data + size_t{position} * shape_.keySize;
        if (batch) {
            const uint32_t asked = count - position;
            uint32_t reported = asked;
            const bool failed = bpf_map_delete_batch(fd, key, &reported, &options) != 0;
            const uint32_t done = failed ? Done(asked, reported) : asked;
            position += done;
            removed += done;
            if (!failed)
                break;
            if (errno == ENOENT)
                position++;
            else if (NoBatch(errno))
                batch = false;
            else
                throw ToError(info.Env(), Failure{errno, "map delete batch", subject_, "", removed});
            continue;
        }
        if (bpf_map_delete_elem(fd, key) == 0)
            removed++;
        else if (errno != ENOENT)
            throw ToError(info.Env(), Failure{errno, "map delete batch", subject_, "", removed});
        position++;
    }
    return Napi::Number::New(info.Env(), removed);
}

// SPDX-License-Identifier: MIT
// BPF_PROG_TEST_RUN, on the JavaScript thread or off it.
#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <memory>
#include <optional>
#include <vector>

#include "options.h"
#include "program.h"
#include "signal_block.h"
#include "task.h"

namespace
{

#ifndef BPF_F_TEST_XDP_LIVE_FRAMES
#define BPF_F_TEST_XDP_LIVE_FRAMES (1U << 1)
#endif

constexpr uint32_t kMostOut = 16u << 20;
constexpr const char *kOperation = "program test run";

/** Everything copied in, so that a run may outlive the call; everything that comes out. */
struct Run {
    std::optional<std::vector<uint8_t>> data, context;
    std::vector<uint8_t> dataOut, contextOut;
    uint32_t repeat = 1, flags = 0, cpu = 0, batchSize = 0;
    uint32_t returnValue = 0, duration = 0;

    int Execute(int fd)
    {
        auto options = Options<bpf_test_run_opts>();
        if (data) {
            options.data_in = data->data();
            options.data_size_in = static_cast<uint32_t>(data->size());
        }
        if (context) {
            options.ctx_in = context->data();
            options.ctx_size_in = static_cast<uint32_t>(context->size());
        }
        if (!dataOut.empty()) {
            options.data_out = dataOut.data();
            options.data_size_out = static_cast<uint32_t>(dataOut.size());
        }
        if (!contextOut.empty()) {
            options.ctx_out = contextOut.data();
            options.ctx_size_out = static_cast<uint32_t>(contextOut.size());
        }
        options.repeat = static_cast<int>(repeat);
        options.flags = flags;
        options.cpu = cpu;
        options.batch_size = batchSize;
        const SignalBlock block;
        if (bpf_prog_test_run_opts(fd, &options))
            return errno;
        // Where nothing was to come out the kernel leaves the sizes as they were.
        dataOut.resize(std::min<size_t>(dataOut.size(), options.data_size_out));
        contextOut.resize(std::min<size_t>(contextOut.size(), options.ctx_size_out));
        returnValue = options.retval;
        duration = options.duration;
        return 0;
    }

    Napi::Value Result(Napi::Env env) const
    {
        Napi::Object result = Napi::Object::New(env);
        result["returnValue"] = returnValue;
        result["duration"] = duration;
        result["data"] = Napi::Buffer<uint8_t>::Copy(env, dataOut.data(), dataOut.size());
        result["context"] = Napi::Buffer<uint8_t>::Copy(env, contextOut.data(), contextOut.size());
        return result;
    }
};

std::optional<std::vector<uint8_t>> Copied(const Arguments &arguments, size_t index, const char *name)
{
    if (!arguments.Has(index))
        return std::nullopt;
    const Bytes bytes = arguments.AnyBytes(index, name);
    if (bytes.size > kMostOut)
        arguments.WrongRange(name, "at most 16 MiB");
    return std::vector<uint8_t>(bytes.data, bytes.data + bytes.size);
}

/** (data, context, repeat, cpu, room for data, room for context, live frames, batch size) */
Run Parse(const Napi::CallbackInfo &info)
{
    const Arguments arguments(info, kOperation);
    Run run;
    run.data = Copied(arguments, 0, "data");
    run.context = Copied(arguments, 1, "context");
    if (arguments.Has(2))
        run.repeat = arguments.U32(2, "repeat", 1, INT32_MAX);
    if (arguments.Has(3)) {
        run.cpu = arguments.U32(3, "cpu");
        run.flags |= BPF_F_TEST_RUN_ON_CPU;
    }
    const bool live = arguments.Has(6) && arguments.Flag(6, "liveFrames");
    if (live)
        run.flags |= BPF_F_TEST_XDP_LIVE_FRAMES;
    if (arguments.Has(7))
        run.batchSize = arguments.U32(7, "batchSize");
    // Live frames are gone when the run ends: some kernels refuse to give back any, others give back nonsense.
    const uint32_t most = live ? 0 : kMostOut;
    size_t dataOut = live || !run.data ? 0 : run.data->size() + 256;
    if (arguments.Has(4))
        dataOut = arguments.U32(4, "dataOutSize", 0, most);
    size_t contextOut = live || !run.context ? 0 : run.context->size();
    if (arguments.Has(5))
        contextOut = arguments.U32(5, "contextOutSize", 0, most);
    run.dataOut.resize(dataOut);
    run.contextOut.resize(contextOut);
    return run;
}

} // namespace

Napi::Value Program::TestRun(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    const int fd = Fd(env, kOperation);
    Run run = Parse(info);
    if (const int error = run.Execute(fd))
        Fail(env, error, kOperation, subject_);
    return run.Result(env);
}

Napi::Value Program::TestRunAsync(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    // Its own descriptor: the program may be closed while the run goes on.
    auto fd = std::make_shared<Descriptor>(Descriptor::Duplicate(Fd(env, kOperation)));
    if (!fd->valid())
        Fail(env, errno, kOperation, subject_);
    auto run = std::make_shared<Run>(Parse(info));
    return Task::Start(
        env, "libbpf.testRun",
        [fd, run, subject = subject_] {
            return Failure{run->Execute(fd->get()), kOperation, subject, "", {}};
        },
        [run](Napi::Env at) { return run->Result(at); });
}

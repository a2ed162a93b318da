// SPDX-License-Identifier: MIT
// What this kernel can do, found out by doing it. A refusal for want of privilege is an error, never "no".
#include "features.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "arguments.h"
#include "batch.h"
#include "clsact.h"
#include "errors.h"
#include "log.h"
#include "options.h"
#include "scratch.h"
#include "tcx_abi.h"

namespace
{

constexpr int kLoopback = 1;

/** 0: yes. Throws for what says nothing about the kernel; every other errno means no. */
Napi::Value Verdict(Napi::Env env, int error, const char *operation)
{
    if (error == EPERM || error == EACCES || error == ENOMEM || error == EMFILE || error == ENFILE)
        Fail(env, error, operation);
    return Napi::Boolean::New(env, error == 0);
}

/** libbpf answers 1 or 0, and "no" without privilege too. */
Napi::Value Probed(Napi::Env env, int result, const char *operation)
{
    if (result < 0)
        Fail(env, result, operation);
    return Napi::Boolean::New(env, result == 1);
}

void NeedPrivilege(Napi::Env env, const char *operation)
{
    if (!scratch::Program(BPF_PROG_TYPE_SCHED_CLS, 0).valid() && (errno == EPERM || errno == EACCES))
        Fail(env, errno, operation);
}

Napi::Value ProgramType(const Napi::CallbackInfo &info)
{
    const auto type = static_cast<bpf_prog_type>(Arguments(info, "probe program type").U32(0, "type", 1));
    NeedPrivilege(info.Env(), "probe program type");
    LogCapture quiet;
    return Probed(info.Env(), libbpf_probe_bpf_prog_type(type, nullptr), "probe program type");
}

Napi::Value MapType(const Napi::CallbackInfo &info)
{
    const auto type = static_cast<bpf_map_type>(Arguments(info, "probe map type").U32(0, "type", 1));
    NeedPrivilege(info.Env(), "probe map type");
    LogCapture quiet;
    return Probed(info.Env(), libbpf_probe_bpf_map_type(type, nullptr), "probe map type");
}

/** What kernels since 6.10 say, which libbpf 1.1 takes for a yes. */
bool RefusedByType(bpf_prog_type type, bpf_func_id helper)
{
    bpf_insn instructions[2]{};
    instructions[0].code = BPF_JMP | BPF_CALL;
    instructions[0].imm = helper;
    instructions[1].code = BPF_JMP | BPF_EXIT;
    std::string log(4096, '\0');
    auto options = Options<bpf_prog_load_opts>();
    options.log_buf = log.data();
    options.log_size = static_cast<uint32_t>(log.size());
    options.log_level = 1;
    const Descriptor program(bpf_prog_load(type, "probe", "GPL", instructions, 2, &options));
    return !program.valid() && log.find("program of this type cannot use helper") != std::string::npos;
}

Napi::Value Helper(const Napi::CallbackInfo &info)
{
    const Arguments arguments(info, "probe helper");
    const auto type = static_cast<bpf_prog_type>(arguments.U32(0, "programType", 1));
    const auto helper = static_cast<bpf_func_id>(arguments.U32(1, "helper", 1, INT32_MAX));
    NeedPrivilege(info.Env(), "probe helper");
    LogCapture quiet;
    const int result = libbpf_probe_bpf_helper(type, helper, nullptr);
    return Probed(info.Env(), result == 1 && RefusedByType(type, helper) ? 0 : result, "probe helper");
}

int TryBatch()
{
    const Descriptor map(bpf_map_create(BPF_MAP_TYPE_HASH, "probe", 4, 4, 4, nullptr));
    if (!map.valid())
        return errno;
    uint32_t key = 1, value = 1, next = 0, count = 4, keys[4], values[4];
    if (bpf_map_update_elem(map.get(), &key, &value, BPF_ANY))
        return errno;
    const auto options = Options<bpf_map_batch_opts>();
    // ENOENT: the end was reached, which is what one element should lead to.
    if (bpf_map_lookup_batch(map.get(), nullptr, &next, keys, values, &count, &options) == 0 || errno == ENOENT)
        return 0;
    return errno;
}

Napi::Value Batch(const Napi::CallbackInfo &info)
{
    return Verdict(info.Env(), TryBatch(), "probe batch");
}

Napi::Value Clsact(const Napi::CallbackInfo &info)
{
    const int error = scratch::InNamespace([] {
        LogCapture quiet;
        const Descriptor program = scratch::Program(BPF_PROG_TYPE_SCHED_CLS, 0);
        return program.valid() ? AttachClsact(kLoopback, false, program.get(), 1, 1) : errno;
    });
    return Verdict(info.Env(), error, "probe clsact");
}

Napi::Value Tcx(const Napi::CallbackInfo &info)
{
    const int error = scratch::InNamespace([] {
        const Descriptor program = scratch::Program(BPF_PROG_TYPE_SCHED_CLS, 0);
        if (!program.valid())
            return errno;
        const int link = tcx::Attach(program.get(), kLoopback, false, false, 0);
        return Descriptor(link).valid() ? 0 : -link;
    });
    return Verdict(info.Env(), error, "probe tcx");
}

/** The frame is dropped by the program that is tried, so it arrives nowhere. */
int TryLiveFrames()
{
    const Descriptor program = scratch::Program(BPF_PROG_TYPE_XDP, 1 /* XDP_DROP */);
    if (!program.valid())
        return errno;
    uint8_t frame[64]{};
    auto options = Options<bpf_test_run_opts>();
    options.data_in = frame;
    options.data_size_in = sizeof(frame);
    options.repeat = 1;
    options.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
    return bpf_prog_test_run_opts(program.get(), &options) ? errno : 0;
}

Napi::Value LiveFrames(const Napi::CallbackInfo &info)
{
    return Verdict(info.Env(), TryLiveFrames(), "probe live frames");
}

Napi::Value KernelBtf(const Napi::CallbackInfo &info)
{
    LogCapture quiet;
    btf *types = btf__load_vmlinux_btf();
    btf__free(types);
    return Napi::Boolean::New(info.Env(), types != nullptr);
}

} // namespace

void InitFeatures(Napi::Env env, Napi::Object exports)
{
    exports["probeProgramType"] = Napi::Function::New<ProgramType>(env, "probeProgramType");
    exports["probeMapType"] = Napi::Function::New<MapType>(env, "probeMapType");
    exports["probeHelper"] = Napi::Function::New<Helper>(env, "probeHelper");
    exports["probeBatch"] = Napi::Function::New<Batch>(env, "probeBatch");
    exports["probeClsact"] = Napi::Function::New<Clsact>(env, "probeClsact");
    exports["probeTcx"] = Napi::Function::New<Tcx>(env, "probeTcx");
    exports["probeLiveFrames"] = Napi::Function::New<LiveFrames>(env, "probeLiveFrames");
    exports["probeKernelBtf"] = Napi::Function::New<KernelBtf>(env, "probeKernelBtf");
}

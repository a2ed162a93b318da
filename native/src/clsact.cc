// SPDX-License-Identifier: MIT
// tc programs on the clsact qdisc, in the calling thread's network namespace.
#include "clsact.h"

#include <bpf/libbpf.h>

#include <cerrno>

#include "filters.h"
#include "log.h"
#include "options.h"
#include "program.h"

namespace
{

bpf_tc_hook Hook(uint32_t ifindex, int points)
{
    auto hook = Options<bpf_tc_hook>();
    hook.ifindex = static_cast<int>(ifindex);
    hook.attach_point = static_cast<bpf_tc_attach_point>(points);
    return hook;
}

std::string Subject(uint32_t ifindex)
{
    return "interface " + std::to_string(ifindex);
}

uint32_t Ifindex(const Arguments &arguments)
{
    return arguments.U32(0, "ifindex", 1, INT32_MAX);
}

/** (ifindex, direction, program, priority, handle) */
void Attach(const Napi::CallbackInfo &info)
{
    const Arguments arguments(info, "clsact attach");
    const uint32_t ifindex = Ifindex(arguments);
    const bool egress = arguments.Egress(1);
    const int program = Program::From(info, 2, "clsact attach").Fd(info.Env(), "clsact attach");
    const uint32_t priority = arguments.U32(3, "priority", 1, UINT16_MAX);
    const uint32_t handle = arguments.U32(4, "handle", 1);
    LogCapture log;
    if (const int error = AttachClsact(static_cast<int>(ifindex), egress, program, priority, handle))
        Fail(info.Env(), error, "clsact attach", Subject(ifindex), log.text());
}

/** (ifindex, direction, priority, handle) */
void Detach(const Napi::CallbackInfo &info)
{
    const Arguments arguments(info, "clsact detach");
    const uint32_t ifindex = Ifindex(arguments);
    const bpf_tc_hook hook = Hook(ifindex, arguments.Egress(1) ? BPF_TC_EGRESS : BPF_TC_INGRESS);
    auto options = Options<bpf_tc_opts>();
    options.priority = arguments.U32(2, "priority", 1, UINT16_MAX);
    options.handle = arguments.U32(3, "handle", 1);
    LogCapture log;
    if (const int error = bpf_tc_detach(&hook, &options))
        Fail(info.Env(), error, "clsact detach", Subject(ifindex), log.text());
}

/** (ifindex): removes the qdisc and every filter on it. */
void RemoveQdisc(const Napi::CallbackInfo &info)
{
    const Arguments arguments(info, "clsact remove");
    const uint32_t ifindex = Ifindex(arguments);
    bpf_tc_hook hook = Hook(ifindex, BPF_TC_INGRESS | BPF_TC_EGRESS);
    LogCapture log;
    if (const int error = bpf_tc_hook_destroy(&hook))
        Fail(info.Env(), error, "clsact remove", Subject(ifindex), log.text());
}

/** (ifindex, direction) */
Napi::Value Query(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    const Arguments arguments(info, "clsact query");
    const uint32_t ifindex = Ifindex(arguments);
    std::vector<Filter> filters;
    if (const int error = DumpFilters(static_cast<int>(ifindex), arguments.Egress(1), filters))
        Fail(env, error, "clsact query", Subject(ifindex));
    Napi::Array result = Napi::Array::New(env, filters.size());
    for (size_t i = 0; i < filters.size(); i++) {
        Napi::Object item = Napi::Object::New(env);
        item["programId"] = filters[i].programId;
        item["name"] = filters[i].name;
        item["filter"] = filters[i].kind;
        item["priority"] = filters[i].priority;
        item["handle"] = filters[i].handle;
        result[static_cast<uint32_t>(i)] = item;
    }
    return result;
}

} // namespace

int AttachClsact(int ifindex, bool egress, int program, uint32_t priority, uint32_t handle)
{
    bpf_tc_hook hook = Hook(static_cast<uint32_t>(ifindex), egress ? BPF_TC_EGRESS : BPF_TC_INGRESS);
    const auto attach = [&] {
        auto options = Options<bpf_tc_opts>();
        options.prog_fd = program;
        options.priority = priority;
        options.handle = handle;
        options.flags = BPF_TC_F_REPLACE;
        return -bpf_tc_attach(&hook, &options);
    };
    // Mostly the qdisc is there. Without it the kernel says EINVAL, as it does for much else.
    const int error = attach();
    if (error != EINVAL && error != ENOENT)
        return error;
    const int created = bpf_tc_hook_create(&hook);
    if (created && created != -EEXIST)
        return -created;
    return attach();
}

void InitClsact(Napi::Env env, Napi::Object exports)
{
    exports["clsactAttach"] = Napi::Function::New<Attach>(env, "clsactAttach");
    exports["clsactDetach"] = Napi::Function::New<Detach>(env, "clsactDetach");
    exports["clsactRemove"] = Napi::Function::New<RemoveQdisc>(env, "clsactRemove");
    exports["clsactQuery"] = Napi::Function::New<Query>(env, "clsactQuery");
}

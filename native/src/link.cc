// SPDX-License-Identifier: MIT
#include "link.h"

#include <bpf/bpf.h>

#include "program.h"
#include "tcx_abi.h"

const napi_type_tag Link::kTag = {0x6c69626270660003, 0x9d0f3a55b1c24e03};

namespace
{

int ReadInfo(int fd, tcx::LinkInfo &info)
{
    uint32_t length = sizeof(info);
    return bpf_obj_get_info_by_fd(fd, &info, &length) ? errno : 0;
}

Napi::Value OpenLink(const Napi::CallbackInfo &info)
{
    const std::string path = Arguments(info, "link open").Text(0, "path");
    Descriptor fd = Adopt(info.Env(), bpf_obj_get(path.c_str()), "link", "link open", path);
    return Link::Create(info.Env(), std::move(fd), "link open");
}

Napi::Value LinkById(const Napi::CallbackInfo &info)
{
    const uint32_t id = Arguments(info, "link open").U32(0, "id", 1);
    Descriptor fd = Adopt(info.Env(), bpf_link_get_fd_by_id(id), "link", "link open", "#" + std::to_string(id));
    return Link::Create(info.Env(), std::move(fd), "link open");
}

} // namespace

Napi::Object Link::Create(Napi::Env env, Descriptor fd, const std::string &operation)
{
    tcx::LinkInfo info{};
    if (const int error = ReadInfo(fd.get(), info))
        Fail(env, error, operation);
    return Wrapped<Link>::Create(env, std::move(fd), "#" + std::to_string(info.id));
}

Napi::Value Link::Info(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    tcx::LinkInfo link{};
    if (const int error = ReadInfo(Fd(env, "link info"), link))
        Fail(env, error, "link info", subject_);
    Napi::Object result = Napi::Object::New(env);
    result["id"] = link.id;
    result["type"] = link.type;
    result["programId"] = link.programId;
    if (link.type == tcx::kLinkType) {
        result["ifindex"] = link.ifindex;
        result["attachType"] = link.attachType;
    }
    return result;
}

/** (program): the kernel swaps them without a gap. */
void Link::Update(const Napi::CallbackInfo &info)
{
    const int fd = Fd(info.Env(), "link update");
    const int program = Program::From(info, 0, "link update").Fd(info.Env(), "link update");
    if (bpf_link_update(fd, program, nullptr))
        Fail(info.Env(), errno, "link update", subject_);
}

void Link::Pin(const Napi::CallbackInfo &info)
{
    const int fd = Fd(info.Env(), "link pin");
    const std::string path = Arguments(info, "link pin").Text(0, "path");
    if (bpf_obj_pin(fd, path.c_str()))
        Fail(info.Env(), errno, "link pin", path);
}

void Link::Detach(const Napi::CallbackInfo &info)
{
    if (bpf_link_detach(Fd(info.Env(), "link detach")))
        Fail(info.Env(), errno, "link detach", subject_);
}

void Link::Init(Napi::Env env, Napi::Object exports)
{
    Napi::Function constructor =
        DefineClass(env, "NativeLink",
                    {InstanceMethod<&Link::Info>("info"), InstanceMethod<&Link::Update>("update"),
                     InstanceMethod<&Link::Pin>("pin"), InstanceMethod<&Link::Detach>("detach"),
                     InstanceMethod("close", static_cast<void (Link::*)(const Napi::CallbackInfo &)>(&Link::Close))});
    Environment::Of(env).link = Napi::Persistent(constructor);
    exports["openLink"] = Napi::Function::New<OpenLink>(env, "openLink");
    exports["linkById"] = Napi::Function::New<LinkById>(env, "linkById");
}

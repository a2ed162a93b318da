// SPDX-License-Identifier: MIT
// One datagram to systemd (sd_notify(3)). Node has no datagram sockets of the Unix family, and to start systemd-notify
// instead copies the page tables of a large process: 20 ms in which no packet's change is answered.
//
// And what else of the C library Node has no word for: giving back memory that is free.
#include <napi.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <malloc.h>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace
{
Napi::Error SystemError(Napi::Env env, const char *operation, int error)
{
    Napi::Error thrown = Napi::Error::New(env, std::string(operation) + ": " + std::strerror(error));
    thrown.Set("errno", Napi::Number::New(env, error));
    return thrown;
}

// send(path, message): a leading '@' stands for the NUL of an abstract address. Never waits.
void Send(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    if (info.Length() != 2 || !info[0].IsString() || !info[1].IsString())
        throw Napi::TypeError::New(env, "send: path and message are text");
    std::string path = info[0].As<Napi::String>();
    const std::string message = info[1].As<Napi::String>();
    sockaddr_un address{};
    if (path.empty() || path.size() >= sizeof(address.sun_path))
        throw SystemError(env, "send", ENAMETOOLONG);
    address.sun_family = AF_UNIX;
    socklen_t length = offsetof(sockaddr_un, sun_path) + path.size();
    std::memcpy(address.sun_path, path.data(), path.size());
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    else
        length++;
    const int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        throw SystemError(env, "socket", errno);
    const ssize_t sent = sendto(descriptor, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                                reinterpret_cast<const sockaddr *>(&address), length);
    const int error = sent < 0 ? errno : 0;
    close(descriptor);
    if (error)
        throw SystemError(env, "sendto", error);
}

// trim(): hands what malloc has free back to the kernel (malloc_trim(3)), where the C library can.
void Trim(const Napi::CallbackInfo &)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

Napi::Object Initialize(Napi::Env env, Napi::Object exports)
{
    exports.Set("send", Napi::Function::New(env, Send, "send"));
    exports.Set("trim", Napi::Function::New(env, Trim, "trim"));
    return exports;
}
} // namespace

NODE_API_MODULE(NODE_GYP_MODULE_NAME, Initialize)

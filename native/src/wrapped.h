// SPDX-License-Identifier: MIT
#pragma once
#include <napi.h>

#include "arguments.h"
#include "descriptor.h"
#include "environment.h"
#include "errors.h"

/**
 * A JavaScript object that owns a descriptor. T has `static const napi_type_tag kTag` (so that an object of another
 * class, or a forged prototype, is never taken for a T), `static constexpr const char *kWhat`, and
 * `static Napi::FunctionReference &Constructor(Napi::Env)`.
 */
template <class T> class Wrapped : public Napi::ObjectWrap<T>
{
  public:
    /** JavaScript cannot call this: it has no External. The descriptor is taken over. */
    explicit Wrapped(const Napi::CallbackInfo &info) : Napi::ObjectWrap<T>(info)
    {
        if (info.Length() != 2 || !info[0].IsExternal() || !info[1].IsString())
            throw Napi::TypeError::New(info.Env(), std::string("a ") + T::kWhat + " is opened, not constructed");
        fd_ = std::move(*info[0].As<Napi::External<Descriptor>>().Data());
        subject_ = info[1].As<Napi::String>();
        info.This().As<Napi::Object>().TypeTag(&T::kTag);
    }

    static Napi::Object Create(Napi::Env env, Descriptor fd, const std::string &subject)
    {
        return T::Constructor(env).New({Napi::External<Descriptor>::New(env, &fd), Napi::String::New(env, subject)});
    }

    /** Throws a TypeError unless the argument is a T. */
    static T &From(const Napi::CallbackInfo &info, size_t index, const char *operation)
    {
        Napi::Value value = info[index];
        if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&T::kTag))
            Arguments(info, operation).WrongType(T::kWhat, "one that this library opened");
        return *Napi::ObjectWrap<T>::Unwrap(value.As<Napi::Object>());
    }

    /** The descriptor, or a BpfError (EBADF) after close(). */
    int Fd(Napi::Env env, const std::string &operation) const
    {
        if (!fd_.valid())
            FailClosed(env, operation, subject_);
        return fd_.get();
    }

    const std::string &subject() const
    {
        return subject_;
    }

    void Close(const Napi::CallbackInfo &)
    {
        fd_.Close();
    }

  protected:
    Descriptor fd_;
    std::string subject_;
};

/** Takes over a descriptor just returned by libbpf; throws its error, or EINVAL when it is of another kind. */
inline Descriptor Adopt(Napi::Env env, int fd, const char *kind, const std::string &operation,
                        const std::string &subject)
{
    if (fd < 0)
        Fail(env, fd, operation, subject);
    Descriptor owned(fd);
    if (const int error = CheckKind(fd, kind))
        Fail(env, error, operation, subject);
    return owned;
}

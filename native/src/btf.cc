// SPDX-License-Identifier: MIT
// The types of an object as plain data.
#include "btf.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <memory>
#include <vector>

#include "arguments.h"
#include "errors.h"
#include "log.h"

namespace
{

class Reader
{
  public:
    Reader(Napi::Env env, const btf *types) : env_(env), types_(types)
    {
    }

    Napi::Object Describe(const btf_type *type) const
    {
        Napi::Object result = Napi::Object::New(env_);
        const auto named = [&](const char *kind) {
            result["kind"] = kind;
            result["name"] = Name(type->name_off);
        };
        switch (btf_kind(type)) {
        case BTF_KIND_INT:
            named("int");
            result["size"] = type->size;
            result["signed"] = (btf_int_encoding(type) & BTF_INT_SIGNED) != 0;
            result["bool"] = (btf_int_encoding(type) & BTF_INT_BOOL) != 0;
            break;
        case BTF_KIND_PTR:
            result["kind"] = "pointer";
            result["type"] = type->type;
            break;
        case BTF_KIND_ARRAY:
            result["kind"] = "array";
            result["type"] = btf_array(type)->type;
            result["length"] = btf_array(type)->nelems;
            break;
        case BTF_KIND_STRUCT:
        case BTF_KIND_UNION:
            named(btf_is_struct(type) ? "struct" : "union");
            result["size"] = type->size;
            result["members"] = Members(type);
            break;
        case BTF_KIND_ENUM:
        case BTF_KIND_ENUM64:
            named("enum");
            result["size"] = type->size;
            result["values"] = Values(type);
            break;
        case BTF_KIND_TYPEDEF:
            named("typedef");
            result["type"] = type->type;
            break;
        case BTF_KIND_CONST:
            named("const");
            result["type"] = type->type;
            break;
        case BTF_KIND_VOLATILE:
            named("volatile");
            result["type"] = type->type;
            break;
        case BTF_KIND_RESTRICT:
            named("restrict");
            result["type"] = type->type;
            break;
        case BTF_KIND_VAR:
            named("var");
            result["type"] = type->type;
            result["linkage"] = btf_var(type)->linkage;
            break;
        case BTF_KIND_DATASEC:
            named("datasec");
            result["size"] = type->size;
            result["variables"] = Variables(type);
            break;
        default:
            named("other");
            result["btfKind"] = btf_kind(type);
        }
        return result;
    }

  private:
    Napi::String Name(uint32_t offset) const
    {
        const char *name = btf__name_by_offset(types_, offset);
        return Napi::String::New(env_, name ? name : "");
    }

    Napi::Array Members(const btf_type *type) const
    {
        Napi::Array result = Napi::Array::New(env_, btf_vlen(type));
        for (uint32_t i = 0; i < btf_vlen(type); i++) {
            Napi::Object member = Napi::Object::New(env_);
            member["name"] = Name(btf_members(type)[i].name_off);
            member["type"] = btf_members(type)[i].type;
            member["bitOffset"] = btf_member_bit_offset(type, i);
            member["bitSize"] = btf_member_bitfield_size(type, i);
            result[i] = member;
        }
        return result;
    }

    Napi::Array Values(const btf_type *type) const
    {
        Napi::Array result = Napi::Array::New(env_, btf_vlen(type));
        for (uint32_t i = 0; i < btf_vlen(type); i++) {
            Napi::Object value = Napi::Object::New(env_);
            const bool wide = btf_is_enum64(type);
            value["name"] = Name(wide ? btf_enum64(type)[i].name_off : btf_enum(type)[i].name_off);
            if (!wide)
                // As signed: compilers before LLVM 16 never say, and negative values are commoner than huge ones.
                value["value"] = Napi::BigInt::New(env_, static_cast<int64_t>(btf_enum(type)[i].val));
            else if (btf_kflag(type))
                value["value"] = Napi::BigInt::New(env_, static_cast<int64_t>(btf_enum64_value(&btf_enum64(type)[i])));
            else
                value["value"] = Napi::BigInt::New(env_, static_cast<uint64_t>(btf_enum64_value(&btf_enum64(type)[i])));
            result[i] = value;
        }
        return result;
    }

    Napi::Array Variables(const btf_type *type) const
    {
        Napi::Array result = Napi::Array::New(env_, btf_vlen(type));
        for (uint32_t i = 0; i < btf_vlen(type); i++) {
            Napi::Object variable = Napi::Object::New(env_);
            variable["type"] = btf_var_secinfos(type)[i].type;
            variable["offset"] = btf_var_secinfos(type)[i].offset;
            variable["size"] = btf_var_secinfos(type)[i].size;
            result[i] = variable;
        }
        return result;
    }

    Napi::Env env_;
    const btf *types_;
};

/** (elf). Opened as an object and not only parsed: that fills in the offsets of variables, which compilers leave 0. */
Napi::Value ReadBtf(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    const Bytes elf = Arguments(info, "btf read").AnyBytes(0, "elf");
    const std::vector<uint8_t> copy(elf.data, elf.data + elf.size);
    LogCapture log;
    const std::unique_ptr<bpf_object, decltype(&bpf_object__close)> object(
        copy.empty() ? (errno = EINVAL, nullptr) : bpf_object__open_mem(copy.data(), copy.size(), nullptr),
        bpf_object__close);
    if (!object)
        Fail(env, errno, "btf read", "", log.text());
    const btf *types = bpf_object__btf(object.get());
    if (!types)
        Fail(env, ENODATA, "btf read", "", "the object has no BTF: compile it with -g");
    Napi::Array result = Napi::Array::New(env);
    Napi::Object none = Napi::Object::New(env);
    none["kind"] = "other";
    none["name"] = "void";
    none["btfKind"] = 0;
    result[0u] = none;
    const Reader reader(env, types);
    for (uint32_t id = 1; id < btf__type_cnt(types); id++) {
        Napi::HandleScope scope(env);
        result[id] = reader.Describe(btf__type_by_id(types, id));
    }
    return result;
}

} // namespace

void InitBtf(Napi::Env env, Napi::Object exports)
{
    exports["readBtf"] = Napi::Function::New<ReadBtf>(env, "readBtf");
}

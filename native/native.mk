# libbpf-ts. Include from a Makefile one level up: `include native/native.mk`.
# Needs g++, libbpf-dev, libelf-dev, zlib1g-dev, and the npm packages node-addon-api and node-api-headers
# (their headers are all there is: no node-gyp, no Node headers, one binary for every Node with Node-API 8).

NATIVE_SOURCES := $(sort $(wildcard native/src/*.cc))
NATIVE_OBJECTS := $(NATIVE_SOURCES:native/src/%.cc=native/build/%.o)
# "Unthrowable": work that ends while its worker thread is being ended has nobody left to tell.
NATIVE_CXXFLAGS := -std=c++17 -O2 -g -fPIC -fvisibility=hidden -pthread -Wall -Wextra -Werror \
	-DNAPI_VERSION=8 -DNODE_GYP_MODULE_NAME=libbpf -DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS \
	-DNODE_ADDON_API_CPP_EXCEPTIONS -DNODE_ADDON_API_CPP_EXCEPTIONS_ALL \
	-isystem node_modules/node-addon-api -isystem node_modules/node-api-headers/include
# One line a file; V=1 shows the commands.
Q ?= $(if $(V),,@)
SAY ?= $(if $(V),,@printf '  %-5s %s\n' $(1) $(2))
NATIVE_LIBS := -lbpf -lelf -lz

native/build/%.o: native/src/%.cc native/native.mk
	@mkdir -p $(@D)
	$(call SAY,c++,$<)
	$(Q)$(CXX) $(NATIVE_CXXFLAGS) -MMD -MP -c $< -o $@

# Linked beside and moved into place: a running process keeps the file it has mapped.
native/build/libbpf.node: $(NATIVE_OBJECTS)
	$(call SAY,link,$@)
	$(Q)$(CXX) -shared -pthread -o $@.new $^ $(NATIVE_LIBS)
	@mv -f $@.new $@

native/dist/index.js: $(wildcard native/lib/*.ts) native/tsconfig.json
	$(call SAY,tsc,native/lib)
	$(Q)node_modules/.bin/tsc -p native/tsconfig.json
	@touch $@

-include $(NATIVE_OBJECTS:.o=.d)

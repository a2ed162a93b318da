# The addon that sends one datagram to systemd. Compiled as native/native.mk compiles its own, which is to be included before.
native/build/notify.node: native/notify/notify.cc native/notify/notify.mk native/native.mk | $(NPM)
	@mkdir -p $(@D)
	$(call SAY,c++,$<)
	$(Q)$(CXX) $(subst NODE_GYP_MODULE_NAME=libbpf,NODE_GYP_MODULE_NAME=notify,$(NATIVE_CXXFLAGS)) -shared -o $@.new $<
	@mv -f $@.new $@

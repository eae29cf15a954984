/work/main/--help/device.bpf.o: bpf/device.bpf.c bpf/packet_hook.bpf.h \
  bpf/subject.bpf.h bpf/flow.bpf.h include/sluice_abi.h \
  include/sluice_table.h include/sluice_reasons.h bpf/maps.bpf.h \
  bpf/socket.bpf.h bpf/packet.bpf.h bpf/state.bpf.h bpf/verdict.bpf.h \
  include/sluice_reader.h bpf/names.bpf.h bpf/event.bpf.h \
  bpf/limit.bpf.h bpf/fragment.bpf.h bpf/segment.bpf.h bpf/hook.bpf.h \
  bpf/sni.bpf.h bpf/dns.bpf.h include/sluice_dns.h include/sluice_tls.h \
  bpf/link.bpf.h bpf/sum.bpf.h vmlinux/vmlinux.h bpf/dhcp.bpf.h \
  bpf/nd.bpf.h bpf/refuse.bpf.h

bpf/packet_hook.bpf.h:

bpf/subject.bpf.h:

bpf/flow.bpf.h:

include/sluice_abi.h:

include/sluice_table.h:

include/sluice_reasons.h:

bpf/maps.bpf.h:

bpf/socket.bpf.h:

bpf/packet.bpf.h:

bpf/state.bpf.h:

bpf/verdict.bpf.h:

include/sluice_reader.h:

bpf/names.bpf.h:

bpf/event.bpf.h:

bpf/limit.bpf.h:

bpf/fragment.bpf.h:

bpf/segment.bpf.h:

bpf/hook.bpf.h:

bpf/sni.bpf.h:

bpf/dns.bpf.h:

include/sluice_dns.h:

include/sluice_tls.h:

bpf/link.bpf.h:

bpf/sum.bpf.h:

vmlinux/vmlinux.h:

bpf/dhcp.bpf.h:

bpf/nd.bpf.h:

bpf/refuse.bpf.h:

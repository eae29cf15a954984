/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The built-in sets, once. X(name, contents) for those that are the same
 * everywhere, Y(name, meaning) for those that a resolution fills.
 * Sources: RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291; the metadata
 * addresses are those that the cloud providers document.
 */
#ifndef SLUICE_SETS_H
#define SLUICE_SETS_H

#define SL_STATIC_SETS(X) \
	X(private, "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 " \
		   "169.254.0.0/16 fc00::/7 fe80::/10") \
	X(metadata, "169.254.169.254 169.254.170.2 169.254.170.23 " \
		    "168.63.129.16 100.100.100.200 fd00:ec2::254") \
	X(loopback, "127.0.0.0/8 ::1") \
	X(link-local, "169.254.0.0/16 fe80::/10") \
	X(multicast, "224.0.0.0/4 ff00::/8")

#define SL_RESOLVED_SETS(Y) \
	Y(gateway, "next hops of the default routes") \
	Y(subnet, "on-link prefixes of the interfaces of those routes") \
	Y(host, "the host's own addresses, loopback excepted") \
	Y(resolvers, "the policy's resolvers, or those of resolv.conf")

#endif

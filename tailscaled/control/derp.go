package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"

	"tailscale.com/derp/derpserver"
	"tailscale.com/net/stunserver"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
	"tailscale.com/types/logger"
)

// startDERP starts a DERP relay and a STUN server on free ports of ip, and returns the map that points nodes to them.
//
// Like upstream's integration.RunDERPAndSTUN, but STUN too is bound to ip alone, and nothing here is a test.
func startDERP(ctx context.Context, ip string) (*tailcfg.DERPMap, error) {
	stun := stunserver.New(ctx)
	if err := stun.Listen(net.JoinHostPort(ip, "0")); err != nil {
		return nil, err
	}
	go stun.Serve() // ends with ctx

	listener, err := net.Listen("tcp4", net.JoinHostPort(ip, "0"))
	if err != nil {
		return nil, err
	}
	relay := derpserver.New(key.NewNode(), logger.Discard)
	// httptest brings a certificate; the map tells nodes not to check it.
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: derpserver.Handler(relay)}}
	server.StartTLS()

	const region = 1
	return &tailcfg.DERPMap{Regions: map[int]*tailcfg.DERPRegion{
		region: {
			RegionID:   region,
			RegionCode: "test",
			RegionName: "Test",
			Nodes: []*tailcfg.DERPNode{{
				Name:             "test-1",
				RegionID:         region,
				HostName:         ip,
				IPv4:             ip,
				IPv6:             "none",
				STUNPort:         stun.LocalAddr().(*net.UDPAddr).Port,
				STUNTestIP:       ip,
				DERPPort:         listener.Addr().(*net.TCPAddr).Port,
				InsecureForTests: true,
			}},
		},
	}}, nil
}

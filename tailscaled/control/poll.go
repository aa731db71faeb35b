package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
	"tailscale.com/util/zstdframe"
)

// serveMap answers a node's stream of news, or takes an update of what the node says of itself.
func (c *control) serveMap(w http.ResponseWriter, r *http.Request, machine key.MachinePublic) {
	var request tailcfg.MapRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		http.Error(w, fmt.Sprintf("not a MapRequest: %v", err), http.StatusBadRequest)
		return
	}
	c.tailnet.mu.Lock()
	m := c.tailnet.byKey[request.NodeKey]
	c.tailnet.mu.Unlock()
	switch {
	case m == nil:
		http.Error(w, "node not found", http.StatusNotFound)
	case m.node.Machine != machine:
		http.Error(w, "node doesn't match machine key", http.StatusBadRequest)
	case request.Stream:
		stream := mapStream{w: w, compress: request.Compress == "zstd"}
		c.tailnet.serveStream(r.Context(), m, &stream)
	default:
		if !request.ReadOnly {
			c.tailnet.update(m, &request)
		}
		w.WriteHeader(http.StatusOK)
	}
}

// update takes over what a node says of itself.
func (t *tailnet) update(m *member, request *tailcfg.MapRequest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := m.node.Clone()
	m.node.Endpoints = slices.Clone(request.Endpoints)
	m.node.DiscoKey = request.DiscoKey
	m.node.Cap = request.Version
	if request.Hostinfo != nil {
		m.takeInfo(request.Hostinfo)
	}
	if !m.node.Equal(before) {
		t.touch(m)
	}
}

// serveStream tells a node of the tailnet and then of its changes, until the node goes, begins another stream, or is
// forgotten.
func (t *tailnet) serveStream(ctx context.Context, m *member, stream *mapStream) {
	number := t.beginStream(m)
	defer t.endStream(m, number)
	keepAlive := 50*time.Second + rand.N(8*time.Second)
	var before told
	for {
		t.mu.Lock()
		changed, replaced := t.changed, m.streams != number
		t.mu.Unlock()
		if replaced {
			return
		}
		response, now, gone := t.news(m, before)
		if gone || (response != nil && stream.send(response) != nil) {
			return
		}
		before = now
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-time.After(keepAlive):
			if stream.send(&tailcfg.MapResponse{KeepAlive: true}) != nil {
				return
			}
		}
	}
}

// takeInfo takes over what a machine says of itself, its home DERP region among it.
func (m *member) takeInfo(info *tailcfg.Hostinfo) {
	m.node.Hostinfo = info.View()
	if info.NetInfo != nil && info.NetInfo.PreferredDERP != 0 {
		m.node.HomeDERP = info.NetInfo.PreferredDERP
	}
}

func (t *tailnet) beginStream(m *member) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	m.streams++
	m.online = true
	m.node.LastSeen = nil
	t.touch(m)
	return m.streams
}

func (t *tailnet) endStream(m *member, number uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m.streams != number {
		return
	}
	now := time.Now()
	m.online = false
	m.node.LastSeen = &now
	t.touch(m)
}

// mapStream frames messages as the control protocol does: their length, four bytes, then JSON.
type mapStream struct {
	w        http.ResponseWriter
	compress bool
}

func (s *mapStream) send(response *tailcfg.MapResponse) error {
	message, err := json.Marshal(response)
	if err != nil {
		return err
	}
	if s.compress {
		message = zstdframe.AppendEncode(nil, message, zstdframe.FastestCompression)
	}
	framed := binary.LittleEndian.AppendUint32(nil, uint32(len(message)))
	if _, err := s.w.Write(append(framed, message...)); err != nil {
		return err
	}
	return http.NewResponseController(s.w).Flush()
}

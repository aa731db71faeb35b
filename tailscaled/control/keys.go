package main

import (
	"errors"
	"sync"
)

// What Tailscale says of keys that it does not take.
var (
	errUnknownKey = errors.New("invalid key: unable to validate API key")
	errRevokedKey = errors.New("invalid key: API key does not exist")
	errUsedKey    = errors.New("authkey already used")
)

// authKey is a key that machines log in with.
type authKey struct {
	Reusable  bool `json:"reusable"`
	Ephemeral bool `json:"ephemeral"`
	used      bool
	revoked   bool
}

// authKeys are those of the tailnet. One that was purged is not there any more.
type authKeys struct {
	mu   sync.Mutex
	keys map[string]*authKey
}

// check says whether a machine may log in with the key. It is refused also beside a node key that is good
// (tailscale/tailscale#16987, #19501).
func (a *authKeys) check(text string) (authKey, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.keys[text]
	switch {
	case k == nil:
		return authKey{}, errUnknownKey
	case k.revoked:
		return authKey{}, errRevokedKey
	case k.used && !k.Reusable:
		return authKey{}, errUsedKey
	}
	return *k, nil
}

// use makes a single-use key one that was used.
func (a *authKeys) use(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if k := a.keys[text]; k != nil {
		k.used = true
	}
}

func (a *authKeys) declare(text string, k authKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys[text] = &k
}

// revoke reports whether there is such a key.
func (a *authKeys) revoke(text string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.keys[text]
	if k != nil {
		k.revoked = true
	}
	return k != nil
}

// purge reports whether there was such a key.
func (a *authKeys) purge(text string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.keys[text]
	delete(a.keys, text)
	return ok
}

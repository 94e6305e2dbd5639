package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"hash"
	"strings"
	"time"
)

var (
	errInvalidToken = errors.New("invalid token")
	errExpiredToken = errors.New("expired token")
)

type claims struct {
	Subject   string          `json:"sub"`
	Channel   string          `json:"channel"`
	ExpiresAt float64         `json:"exp"`
	NotBefore float64         `json:"nbf"`
	ExpireAt  *int64          `json:"expire_at"`
	Info      json.RawMessage `json:"info"`
	B64Info   []byte          `json:"b64info"`
}

// expiry is when what the token grants ends, in seconds since 1970; 0 for never.
func (c claims) expiry() int64 {
	if c.ExpireAt != nil {
		return *c.ExpireAt
	}
	return int64(c.ExpiresAt)
}

var algorithms = map[string]func() hash.Hash{"HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New}

// verify reads a JSON Web Token (RFC 7519) that is signed with `key`.
func verify(token string, key string) (claims, error) {
	var found claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 || key == "" {
		return found, errInvalidToken
	}
	var decoded [3][]byte
	for i, part := range parts {
		raw, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			return found, errInvalidToken
		}
		decoded[i] = raw
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	if json.Unmarshal(decoded[0], &header) != nil {
		return found, errInvalidToken
	}
	algorithm, ok := algorithms[header.Algorithm]
	if !ok {
		return found, errInvalidToken
	}
	mac := hmac.New(algorithm, []byte(key))
	mac.Write([]byte(parts[0] + "." + parts[1]))
	if !hmac.Equal(mac.Sum(nil), decoded[2]) || json.Unmarshal(decoded[1], &found) != nil {
		return found, errInvalidToken
	}
	now := float64(time.Now().Unix())
	if (found.ExpiresAt != 0 && found.ExpiresAt <= now) || found.NotBefore > now {
		return found, errExpiredToken
	}
	return found, nil
}

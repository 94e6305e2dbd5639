package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/centrifugal/centrifuge"
)

// proxyReply is what the application may answer. Only `error` and `disconnect` at this level deny; an object without
// them grants, whatever else it holds. That is how Centrifugo reads it.
type proxyReply[T any] struct {
	Result     *T               `json:"result"`
	Error      *proxyError      `json:"error"`
	Disconnect *proxyDisconnect `json:"disconnect"`
}

type proxyError struct {
	Code      uint32 `json:"code"`
	Message   string `json:"message"`
	Temporary bool   `json:"temporary"`
}

type proxyDisconnect struct {
	Code   uint32 `json:"code"`
	Reason string `json:"reason"`
}

type switchValue struct {
	Value bool `json:"value"`
}

type subscribeResult struct {
	Info     json.RawMessage `json:"info"`
	B64Info  []byte          `json:"b64info"`
	Data     json.RawMessage `json:"data"`
	B64Data  []byte          `json:"b64data"`
	ExpireAt int64           `json:"expire_at"`
	Override struct {
		Presence           *switchValue `json:"presence"`
		JoinLeave          *switchValue `json:"join_leave"`
		ForcePushJoinLeave *switchValue `json:"force_push_join_leave"`
		ForcePositioning   *switchValue `json:"force_positioning"`
		ForceRecovery      *switchValue `json:"force_recovery"`
	} `json:"override"`
}

type publishResult struct {
	Data           json.RawMessage   `json:"data"`
	B64Data        []byte            `json:"b64data"`
	SkipHistory    bool              `json:"skip_history"`
	Tags           map[string]string `json:"tags"`
	IdempotencyKey string            `json:"idempotency_key"`
	Version        uint64            `json:"version"`
	VersionEpoch   string            `json:"version_epoch"`
}

type refreshResult struct {
	Expired  bool            `json:"expired"`
	ExpireAt int64           `json:"expire_at"`
	Info     json.RawMessage `json:"info"`
	B64Info  []byte          `json:"b64info"`
}

type proxyRequest struct {
	Client    string          `json:"client"`
	Transport string          `json:"transport"`
	Protocol  string          `json:"protocol"`
	Encoding  string          `json:"encoding"`
	User      string          `json:"user"`
	Channel   string          `json:"channel,omitempty"`
	Token     string          `json:"token,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"`
}

func requestOf(client *centrifuge.Client, channel string, data []byte) proxyRequest {
	transport := client.Transport()
	return proxyRequest{
		Client: client.ID(), Transport: transport.Name(), Protocol: string(transport.Protocol()), Encoding: "json",
		User: client.UserID(), Channel: channel, Data: data,
	}
}

var proxyClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 255}}

// ask puts a question to the application. An error means that it could not be answered.
func ask[T any](ctx context.Context, proxy *ProxyConfig, question proxyRequest) (proxyReply[T], error) {
	var reply proxyReply[T]
	body, err := json.Marshal(question)
	if err != nil {
		return reply, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(proxy.Timeout))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, string(proxy.Endpoint), bytes.NewReader(body))
	if err != nil {
		return reply, err
	}
	for name, value := range proxy.HTTP.StaticHeaders {
		request.Header.Set(name, value)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := proxyClient.Do(request)
	if err != nil {
		return reply, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return reply, err
	}
	if response.StatusCode != http.StatusOK {
		for _, transform := range proxy.HTTP.Transforms {
			if transform.StatusCode == response.StatusCode {
				reply.Error, reply.Disconnect = transform.ToError, transform.ToDisconnect
				return reply, nil
			}
		}
		return reply, fmt.Errorf("the application answered with status %d", response.StatusCode)
	}
	return reply, json.Unmarshal(answer, &reply)
}

// denial is the answer's error or disconnect, or nil. Disconnect wins.
func (r proxyReply[T]) denial() error {
	if r.Disconnect != nil {
		return centrifuge.Disconnect{Code: r.Disconnect.Code, Reason: r.Disconnect.Reason}
	}
	if r.Error != nil {
		return &centrifuge.Error{Code: r.Error.Code, Message: r.Error.Message, Temporary: r.Error.Temporary}
	}
	return nil
}

func either(raw json.RawMessage, binary []byte) []byte {
	if binary != nil {
		return binary
	}
	return raw
}

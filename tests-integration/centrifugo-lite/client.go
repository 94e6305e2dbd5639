package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/centrifugal/centrifuge"
)

// shell answers what the engine asks: who a connection is, and what it may do.
type shell struct {
	config     *Config
	node       *centrifuge.Node
	namespaces map[string]*Namespace
	methods    map[string]method
}

func newShell(config *Config, node *centrifuge.Node) *shell {
	s := &shell{config: config, node: node, namespaces: map[string]*Namespace{"": {}}, methods: apiMethods()}
	for _, ns := range config.Channel.Namespaces {
		s.namespaces[ns.Name] = ns
	}
	node.OnConnecting(s.connecting)
	node.OnConnect(s.connected)
	return s
}

// namespace finds a channel's options. A channel without a namespace has none of the rights.
func (s *shell) namespace(channel string) (*Namespace, error) {
	name, _, found := strings.Cut(strings.TrimPrefix(channel, "$"), ":")
	if !found {
		name = ""
	}
	if ns, ok := s.namespaces[name]; ok {
		return ns, nil
	}
	return nil, centrifuge.ErrorUnknownChannel
}

// named is namespace, for a name that a client has written.
func (s *shell) named(channel string) (*Namespace, error) {
	ns, err := s.namespace(channel)
	if err != nil {
		return nil, err
	}
	rest := channel
	if ns.Name != "" {
		_, rest, _ = strings.Cut(channel, ":")
	}
	if ns.regex != nil {
		if !ns.regex.MatchString(rest) {
			return nil, centrifuge.ErrorBadRequest
		}
	} else if strings.ContainsFunc(rest, func(r rune) bool { return r > 127 }) {
		return nil, centrifuge.ErrorBadRequest
	}
	return ns, nil
}

func (s *shell) verify(token string) (claims, error) {
	return verify(token, string(s.config.Client.Token.HMACSecretKey))
}

func (s *shell) connecting(_ context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
	if e.Token == "" {
		return centrifuge.ConnectReply{}, centrifuge.DisconnectBadRequest
	}
	found, err := s.verify(e.Token)
	switch {
	case errors.Is(err, errExpiredToken):
		return centrifuge.ConnectReply{}, centrifuge.ErrorTokenExpired
	case err != nil || found.Channel != "":
		return centrifuge.ConnectReply{}, centrifuge.DisconnectInvalidToken
	case found.Subject == "" && bool(s.config.Client.DisallowAnonymousConnectionTokens):
		return centrifuge.ConnectReply{}, centrifuge.DisconnectPermissionDenied
	}
	return centrifuge.ConnectReply{
		Credentials: &centrifuge.Credentials{
			UserID: found.Subject, ExpireAt: found.expiry(), Info: either(found.Info, found.B64Info),
		},
		ClientSideRefresh: !bool(s.config.Client.Proxy.Refresh.Enabled),
	}, nil
}

func (s *shell) connected(client *centrifuge.Client) {
	client.OnRefresh(func(e centrifuge.RefreshEvent, done centrifuge.RefreshCallback) { done(s.refresh(client, e)) })
	client.OnSubscribe(func(e centrifuge.SubscribeEvent, done centrifuge.SubscribeCallback) { done(s.subscribe(client, e)) })
	client.OnSubRefresh(func(e centrifuge.SubRefreshEvent, done centrifuge.SubRefreshCallback) { done(s.subRefresh(client, e)) })
	client.OnPublish(func(e centrifuge.PublishEvent, done centrifuge.PublishCallback) { done(s.publish(client, e)) })
	client.OnPresence(func(e centrifuge.PresenceEvent, done centrifuge.PresenceCallback) {
		done(centrifuge.PresenceReply{}, s.mayReadPresence(client, e.Channel))
	})
	client.OnPresenceStats(func(e centrifuge.PresenceStatsEvent, done centrifuge.PresenceStatsCallback) {
		done(centrifuge.PresenceStatsReply{}, s.mayReadPresence(client, e.Channel))
	})
	client.OnHistory(func(e centrifuge.HistoryEvent, done centrifuge.HistoryCallback) {
		done(centrifuge.HistoryReply{}, s.mayReadHistory(client, e.Channel))
	})
}

func (s *shell) refresh(client *centrifuge.Client, e centrifuge.RefreshEvent) (centrifuge.RefreshReply, error) {
	if !e.ClientSideRefresh {
		reply, err := ask[refreshResult](client.Context(), &s.config.Client.Proxy.Refresh, requestOf(client, "", nil))
		extended := extension(reply, err)
		return centrifuge.RefreshReply{Expired: extended.Expired, ExpireAt: extended.ExpireAt, Info: extended.info()}, nil
	}
	found, err := s.verify(e.Token)
	switch {
	case errors.Is(err, errExpiredToken):
		return centrifuge.RefreshReply{Expired: true}, nil
	case err != nil || found.Channel != "" || found.Subject != client.UserID():
		return centrifuge.RefreshReply{}, centrifuge.DisconnectInvalidToken
	}
	return centrifuge.RefreshReply{ExpireAt: found.expiry(), Info: either(found.Info, found.B64Info)}, nil
}

// extension is what an answer about something that has expired means: no answer is another minute, and one without a
// result is the end.
func extension(reply proxyReply[refreshResult], err error) refreshResult {
	if err != nil {
		return refreshResult{ExpireAt: time.Now().Unix() + 60}
	}
	if reply.Result == nil || reply.Error != nil || reply.Disconnect != nil {
		return refreshResult{Expired: true}
	}
	return *reply.Result
}

func (r refreshResult) info() []byte { return either(r.Info, r.B64Info) }

func (s *shell) options(ns *Namespace) centrifuge.SubscribeOptions {
	return centrifuge.SubscribeOptions{
		EmitPresence: bool(ns.Presence), EmitJoinLeave: bool(ns.JoinLeave), PushJoinLeave: bool(ns.ForcePushJoinLeave),
		EnablePositioning: bool(ns.ForcePositioning), EnableRecovery: bool(ns.ForceRecovery),
		HistoryMetaTTL: time.Duration(s.config.Channel.HistoryMetaTTL),
	}
}

func (s *shell) subscribe(client *centrifuge.Client, e centrifuge.SubscribeEvent) (centrifuge.SubscribeReply, error) {
	ns, err := s.named(e.Channel)
	if err != nil {
		return centrifuge.SubscribeReply{}, err
	}
	reply := centrifuge.SubscribeReply{Options: s.options(ns), ClientSideRefresh: !bool(ns.SubRefreshProxyEnabled)}
	switch {
	case e.Token != "":
		return reply, s.subscribeByToken(client, e, &reply)
	case strings.HasPrefix(e.Channel, "$"):
		return reply, centrifuge.ErrorPermissionDenied
	case bool(ns.SubscribeProxyEnabled):
		return reply, s.subscribeByProxy(client, e, &reply.Options)
	case bool(ns.AllowSubscribeForClient):
		history := bool(ns.AllowHistoryForSubscriber || ns.AllowHistoryForClient)
		presence := bool(ns.AllowPresenceForSubscriber || ns.AllowPresenceForClient)
		reply.Options.EnablePositioning = reply.Options.EnablePositioning || (e.Positioned && (bool(ns.AllowPositioning) || history))
		reply.Options.EnableRecovery = reply.Options.EnableRecovery || (e.Recoverable && (bool(ns.AllowRecovery) || history))
		reply.Options.PushJoinLeave = reply.Options.PushJoinLeave || (e.JoinLeave && presence)
		return reply, nil
	}
	return reply, centrifuge.ErrorPermissionDenied
}

func (s *shell) subscribeByToken(client *centrifuge.Client, e centrifuge.SubscribeEvent, reply *centrifuge.SubscribeReply) error {
	found, err := s.verify(e.Token)
	switch {
	case errors.Is(err, errExpiredToken):
		return centrifuge.ErrorTokenExpired
	case err != nil || found.Channel != e.Channel || found.Subject != client.UserID():
		return centrifuge.DisconnectInvalidToken
	}
	reply.Options.ExpireAt = found.expiry()
	reply.Options.ChannelInfo = either(found.Info, found.B64Info)
	reply.ClientSideRefresh = true
	return nil
}

func (s *shell) subscribeByProxy(client *centrifuge.Client, e centrifuge.SubscribeEvent, options *centrifuge.SubscribeOptions) error {
	question := requestOf(client, e.Channel, e.Data)
	reply, err := ask[subscribeResult](client.Context(), &s.config.Channel.Proxy.Subscribe, question)
	if err != nil {
		return centrifuge.ErrorInternal
	}
	if denial := reply.denial(); denial != nil || reply.Result == nil {
		return denial
	}
	result := reply.Result
	options.ExpireAt = result.ExpireAt
	options.ChannelInfo = either(result.Info, result.B64Info)
	options.Data = either(result.Data, result.B64Data)
	for _, override := range []struct {
		target *bool
		value  *switchValue
	}{
		{&options.EmitPresence, result.Override.Presence}, {&options.EmitJoinLeave, result.Override.JoinLeave},
		{&options.PushJoinLeave, result.Override.ForcePushJoinLeave},
		{&options.EnablePositioning, result.Override.ForcePositioning}, {&options.EnableRecovery, result.Override.ForceRecovery},
	} {
		if override.value != nil {
			*override.target = override.value.Value
		}
	}
	return nil
}

func (s *shell) subRefresh(client *centrifuge.Client, e centrifuge.SubRefreshEvent) (centrifuge.SubRefreshReply, error) {
	if !e.ClientSideRefresh {
		question := requestOf(client, e.Channel, nil)
		reply, err := ask[refreshResult](client.Context(), &s.config.Channel.Proxy.SubRefresh, question)
		extended := extension(reply, err)
		return centrifuge.SubRefreshReply{Expired: extended.Expired, ExpireAt: extended.ExpireAt, Info: extended.info()}, nil
	}
	found, err := s.verify(e.Token)
	switch {
	case errors.Is(err, errExpiredToken):
		return centrifuge.SubRefreshReply{Expired: true}, nil
	case err != nil || found.Channel != e.Channel || found.Subject != client.UserID():
		return centrifuge.SubRefreshReply{}, centrifuge.DisconnectInvalidToken
	}
	return centrifuge.SubRefreshReply{ExpireAt: found.expiry(), Info: either(found.Info, found.B64Info)}, nil
}

// wellFormed is whether a publication has the form that its namespace asks for.
func (ns *Namespace) wellFormed(data []byte) bool {
	switch ns.PublicationDataFormat {
	case "json":
		return json.Valid(data)
	case "json_object":
		return json.Valid(data) && bytes.HasPrefix(bytes.TrimSpace(data), []byte("{"))
	case "binary":
		return true
	}
	return len(data) > 0
}

func (s *shell) publishOptions(ns *Namespace, skipHistory bool) centrifuge.PublishOptions {
	options := centrifuge.PublishOptions{HistoryMetaTTL: time.Duration(s.config.Channel.HistoryMetaTTL)}
	if !skipHistory {
		options.HistorySize, options.HistoryTTL = ns.HistorySize, time.Duration(ns.HistoryTTL)
	}
	return options
}

func (s *shell) publish(client *centrifuge.Client, e centrifuge.PublishEvent) (centrifuge.PublishReply, error) {
	ns, err := s.named(e.Channel)
	if err != nil {
		return centrifuge.PublishReply{}, err
	}
	data, options := e.Data, s.publishOptions(ns, false)
	switch {
	case !ns.wellFormed(data):
		return centrifuge.PublishReply{}, centrifuge.ErrorBadRequest
	case bool(ns.PublishProxyEnabled):
		reply, err := ask[publishResult](client.Context(), &s.config.Channel.Proxy.Publish, requestOf(client, e.Channel, data))
		if err != nil {
			return centrifuge.PublishReply{}, centrifuge.ErrorInternal
		}
		if denial := reply.denial(); denial != nil {
			return centrifuge.PublishReply{}, denial
		}
		if result := reply.Result; result != nil {
			if other := either(result.Data, result.B64Data); other != nil {
				data = other
			}
			options = s.publishOptions(ns, result.SkipHistory)
			options.Tags, options.IdempotencyKey = result.Tags, result.IdempotencyKey
			options.Version, options.VersionEpoch = result.Version, result.VersionEpoch
		}
	case bool(ns.AllowPublishForClient), bool(ns.AllowPublishForSubscriber) && client.IsSubscribed(e.Channel):
	default:
		return centrifuge.PublishReply{}, centrifuge.ErrorPermissionDenied
	}
	options.ClientInfo = e.ClientInfo
	result, err := s.node.Publish(e.Channel, data, func(o *centrifuge.PublishOptions) { *o = options })
	return centrifuge.PublishReply{Result: &result}, err
}

func (s *shell) mayReadPresence(client *centrifuge.Client, channel string) error {
	ns, err := s.named(channel)
	switch {
	case err != nil:
		return err
	case !bool(ns.Presence):
		return centrifuge.ErrorNotAvailable
	case bool(ns.AllowPresenceForClient), bool(ns.AllowPresenceForSubscriber) && client.IsSubscribed(channel):
		return nil
	}
	return centrifuge.ErrorPermissionDenied
}

func (s *shell) mayReadHistory(client *centrifuge.Client, channel string) error {
	ns, err := s.named(channel)
	switch {
	case err != nil:
		return err
	case ns.HistorySize == 0:
		return centrifuge.ErrorNotAvailable
	case bool(ns.AllowHistoryForClient), bool(ns.AllowHistoryForSubscriber) && client.IsSubscribed(channel):
		return nil
	}
	return centrifuge.ErrorPermissionDenied
}

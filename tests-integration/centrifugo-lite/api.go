package main

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/centrifugal/centrifuge"
)

// apiRequest has the fields of all methods; each reads its own.
type apiRequest struct {
	Channel        string            `json:"channel"`
	Channels       []string          `json:"channels"`
	User           string            `json:"user"`
	Client         string            `json:"client"`
	Session        string            `json:"session"`
	Data           json.RawMessage   `json:"data"`
	B64Data        string            `json:"b64data"`
	Info           json.RawMessage   `json:"info"`
	ExpireAt       int64             `json:"expire_at"`
	Expired        bool              `json:"expired"`
	SkipHistory    bool              `json:"skip_history"`
	Tags           map[string]string `json:"tags"`
	IdempotencyKey string            `json:"idempotency_key"`
	Version        uint64            `json:"version"`
	VersionEpoch   string            `json:"version_epoch"`
	Whitelist      []string          `json:"whitelist"`
	Disconnect     *proxyDisconnect  `json:"disconnect"`
	Limit          int               `json:"limit"`
	Reverse        bool              `json:"reverse"`
	Since          *struct {
		Offset uint64 `json:"offset"`
		Epoch  string `json:"epoch"`
	} `json:"since"`
	Commands []map[string]apiRequest `json:"commands"`
}

type object = map[string]any

type method func(*shell, *apiRequest) (any, error)

func apiMethods() map[string]method {
	return map[string]method{
		"publish": (*shell).apiPublish, "broadcast": (*shell).apiBroadcast, "subscribe": (*shell).apiSubscribe,
		"unsubscribe": (*shell).apiUnsubscribe, "disconnect": (*shell).apiDisconnect, "refresh": (*shell).apiRefresh,
		"presence": (*shell).apiPresence, "presence_stats": (*shell).apiPresenceStats, "history": (*shell).apiHistory,
		"history_remove": (*shell).apiHistoryRemove, "channels": (*shell).apiChannels, "info": (*shell).apiInfo,
		"rpc": (*shell).apiRPC,
	}
}

// api serves one method. A refusal is an answer with status 200, unless the caller asks for statuses.
func (s *shell) api(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		if !s.authorized(r) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		raw, err := io.ReadAll(r.Body)
		var request apiRequest
		if err != nil || json.Unmarshal(raw, &request) != nil {
			http.Error(w, "Bad Request", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if name == "batch" {
			replies := []any{}
			for _, command := range request.Commands {
				for kind, one := range command {
					reply := s.answer(kind, &one)
					if reply.Error != nil {
						replies = append(replies, object{"error": reply.Error})
					} else {
						replies = append(replies, object{kind: reply.Result})
					}
				}
			}
			_ = json.NewEncoder(w).Encode(object{"replies": replies})
			return
		}
		reply := s.answer(name, &request)
		if reply.Error != nil && r.Header.Get("X-Centrifugo-Error-Mode") == "transport" {
			w.WriteHeader(statusOf(reply.Error.Code))
			_ = json.NewEncoder(w).Encode(reply.Error)
			return
		}
		_ = json.NewEncoder(w).Encode(reply)
	}
}

type apiError struct {
	Code    uint32 `json:"code"`
	Message string `json:"message"`
}

type apiReply struct {
	Result any       `json:"result,omitempty"`
	Error  *apiError `json:"error,omitempty"`
}

func (s *shell) answer(name string, request *apiRequest) apiReply {
	call, ok := s.methods[name]
	if !ok {
		return apiReply{Error: &apiError{centrifuge.ErrorMethodNotFound.Code, centrifuge.ErrorMethodNotFound.Message}}
	}
	result, err := call(s, request)
	if err == nil {
		return apiReply{Result: result}
	}
	var known *centrifuge.Error
	if !errors.As(err, &known) {
		known = centrifuge.ErrorInternal
	}
	return apiReply{Error: &apiError{known.Code, known.Message}}
}

func statusOf(code uint32) int {
	switch code {
	case 101:
		return http.StatusUnauthorized
	case 103:
		return http.StatusForbidden
	case 102, 104, 108:
		return http.StatusNotFound
	case 107, 112:
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

func (s *shell) authorized(r *http.Request) bool {
	scheme, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "apikey") {
		credential = ""
	}
	for _, given := range []string{r.Header.Get("X-API-Key"), credential, r.URL.Query().Get("api_key")} {
		if given != "" && subtle.ConstantTimeCompare([]byte(given), []byte(s.config.HTTPAPI.Key)) == 1 {
			return true
		}
	}
	return false
}

func (s *shell) target(channel string) (*Namespace, error) {
	if channel == "" {
		return nil, centrifuge.ErrorBadRequest
	}
	return s.namespace(channel)
}

func (s *shell) apiPublish(r *apiRequest) (any, error) {
	ns, err := s.target(r.Channel)
	if err != nil {
		return nil, err
	}
	data := []byte(r.Data)
	if r.B64Data != "" {
		if data, err = base64.StdEncoding.DecodeString(r.B64Data); err != nil {
			return nil, centrifuge.ErrorBadRequest
		}
	}
	if len(data) == 0 || !ns.wellFormed(data) {
		return nil, centrifuge.ErrorBadRequest
	}
	options := s.publishOptions(ns, r.SkipHistory)
	options.Tags, options.IdempotencyKey = r.Tags, r.IdempotencyKey
	options.Version, options.VersionEpoch = r.Version, r.VersionEpoch
	result, err := s.node.Publish(r.Channel, data, func(o *centrifuge.PublishOptions) { *o = options })
	answer := object{}
	if result.Offset != 0 {
		answer["offset"] = result.Offset
	}
	if result.Epoch != "" {
		answer["epoch"] = result.Epoch
	}
	return answer, err
}

func (s *shell) apiBroadcast(r *apiRequest) (any, error) {
	if len(r.Channels) == 0 || (len(r.Data) == 0 && r.B64Data == "") {
		return nil, centrifuge.ErrorBadRequest
	}
	responses := []apiReply{}
	for _, channel := range r.Channels {
		one := *r
		one.Channel = channel
		responses = append(responses, s.answer("publish", &one))
	}
	return object{"responses": responses}, nil
}

func (s *shell) apiSubscribe(r *apiRequest) (any, error) {
	ns, err := s.target(r.Channel)
	if err != nil {
		return nil, err
	}
	options := s.options(ns)
	options.Data, options.ChannelInfo, options.ExpireAt = r.Data, r.Info, r.ExpireAt
	return object{}, s.node.Subscribe(
		r.User, r.Channel, func(o *centrifuge.SubscribeOptions) { *o = options },
		centrifuge.WithSubscribeClient(r.Client), centrifuge.WithSubscribeSession(r.Session),
	)
}

func (s *shell) apiUnsubscribe(r *apiRequest) (any, error) {
	if r.Channel != "" {
		if _, err := s.namespace(r.Channel); err != nil {
			return nil, err
		}
	}
	return object{}, s.node.Unsubscribe(
		r.User, r.Channel, centrifuge.WithUnsubscribeClient(r.Client), centrifuge.WithUnsubscribeSession(r.Session),
	)
}

func (s *shell) apiDisconnect(r *apiRequest) (any, error) {
	options := []centrifuge.DisconnectOption{
		centrifuge.WithDisconnectClient(r.Client), centrifuge.WithDisconnectSession(r.Session),
		centrifuge.WithDisconnectClientWhitelist(r.Whitelist),
	}
	if r.Disconnect != nil {
		options = append(options, centrifuge.WithCustomDisconnect(
			centrifuge.Disconnect{Code: r.Disconnect.Code, Reason: r.Disconnect.Reason},
		))
	}
	return object{}, s.node.Disconnect(r.User, options...)
}

func (s *shell) apiRefresh(r *apiRequest) (any, error) {
	return object{}, s.node.Refresh(
		r.User, centrifuge.WithRefreshClient(r.Client), centrifuge.WithRefreshSession(r.Session),
		centrifuge.WithRefreshExpired(r.Expired), centrifuge.WithRefreshExpireAt(r.ExpireAt), centrifuge.WithRefreshInfo(r.Info),
	)
}

func (s *shell) apiPresence(r *apiRequest) (any, error) {
	if err := s.hasPresence(r.Channel); err != nil {
		return nil, err
	}
	result, err := s.node.Presence(r.Channel)
	members := map[string]*info{}
	for id, member := range result.Presence {
		members[id] = infoOf(member)
	}
	return object{"presence": members}, err
}

func (s *shell) apiPresenceStats(r *apiRequest) (any, error) {
	if err := s.hasPresence(r.Channel); err != nil {
		return nil, err
	}
	result, err := s.node.PresenceStats(r.Channel)
	return object{"num_clients": result.NumClients, "num_users": result.NumUsers}, err
}

func (s *shell) hasPresence(channel string) error {
	ns, err := s.target(channel)
	if err == nil && !bool(ns.Presence) {
		return centrifuge.ErrorNotAvailable
	}
	return err
}

func (s *shell) apiHistory(r *apiRequest) (any, error) {
	if err := s.hasHistory(r.Channel); err != nil {
		return nil, err
	}
	filter := centrifuge.HistoryFilter{Limit: r.Limit, Reverse: r.Reverse}
	if r.Since != nil {
		filter.Since = &centrifuge.StreamPosition{Offset: r.Since.Offset, Epoch: r.Since.Epoch}
	}
	result, err := s.node.History(r.Channel, centrifuge.WithHistoryFilter(filter))
	publications := []object{}
	for _, found := range result.Publications {
		publication := object{"data": json.RawMessage(found.Data), "offset": found.Offset}
		if found.Info != nil {
			publication["info"] = infoOf(found.Info)
		}
		if len(found.Tags) > 0 {
			publication["tags"] = found.Tags
		}
		publications = append(publications, publication)
	}
	return object{"publications": publications, "offset": result.Offset, "epoch": result.Epoch}, err
}

func (s *shell) apiHistoryRemove(r *apiRequest) (any, error) {
	if err := s.hasHistory(r.Channel); err != nil {
		return nil, err
	}
	return object{}, s.node.RemoveHistory(r.Channel)
}

func (s *shell) hasHistory(channel string) error {
	ns, err := s.target(channel)
	if err == nil && ns.HistorySize == 0 {
		return centrifuge.ErrorNotAvailable
	}
	return err
}

// apiChannels knows the channels of this node only.
func (s *shell) apiChannels(*apiRequest) (any, error) {
	channels := object{}
	for _, channel := range s.node.Hub().Channels() {
		channels[channel] = object{"num_clients": s.node.Hub().NumSubscribers(channel)}
	}
	return object{"channels": channels}, nil
}

func (s *shell) apiInfo(*apiRequest) (any, error) {
	found, err := s.node.Info()
	nodes := []object{}
	for _, node := range found.Nodes {
		nodes = append(nodes, object{
			"uid": node.UID, "name": node.Name, "version": node.Version, "num_clients": node.NumClients,
			"num_users": node.NumUsers, "num_subs": node.NumSubs, "num_channels": node.NumChannels, "uptime": node.Uptime,
			"metrics": object{},
		})
	}
	return object{"nodes": nodes}, err
}

func (s *shell) apiRPC(*apiRequest) (any, error) {
	return nil, &centrifuge.Error{Code: 104, Message: "not found"}
}

type info struct {
	User     string          `json:"user"`
	Client   string          `json:"client"`
	ConnInfo json.RawMessage `json:"conn_info,omitempty"`
	ChanInfo json.RawMessage `json:"chan_info,omitempty"`
}

func infoOf(found *centrifuge.ClientInfo) *info {
	return &info{User: found.UserID, Client: found.ClientID, ConnInfo: found.ConnInfo, ChanInfo: found.ChanInfo}
}

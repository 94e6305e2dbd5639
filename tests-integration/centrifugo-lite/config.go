package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Config is the part of Centrifugo's config.json that this shell reads. Every other key is left alone.
type Config struct {
	HTTPServer struct {
		Address         Text `json:"address"`
		Port            Text `json:"port"`
		InternalAddress Text `json:"internal_address"`
		InternalPort    Text `json:"internal_port"`
	} `json:"http_server"`
	Health     Switch `json:"health"`
	Prometheus Switch `json:"prometheus"`
	HTTPAPI    struct {
		Key Text `json:"key"`
	} `json:"http_api"`
	WebSocket struct {
		MessageSizeLimit int      `json:"message_size_limit"`
		WriteTimeout     Duration `json:"write_timeout"`
	} `json:"websocket"`
	Engine struct {
		Type  Text `json:"type"`
		Redis struct {
			Address     Text     `json:"address"`
			Prefix      Text     `json:"prefix"`
			PresenceTTL Duration `json:"presence_ttl"`
		} `json:"redis"`
	} `json:"engine"`
	Client  ClientConfig  `json:"client"`
	Channel ChannelConfig `json:"channel"`
}

// ClientConfig limits and times connections.
type ClientConfig struct {
	Token struct {
		HMACSecretKey Text `json:"hmac_secret_key"`
	} `json:"token"`
	AllowedOrigins                    []string `json:"allowed_origins"`
	DisallowAnonymousConnectionTokens Bool     `json:"disallow_anonymous_connection_tokens"`
	PingInterval                      Duration `json:"ping_interval"`
	PongTimeout                       Duration `json:"pong_timeout"`
	PresenceUpdateInterval            Duration `json:"presence_update_interval"`
	ChannelPositionCheckDelay         Duration `json:"channel_position_check_delay"`
	ExpiredCloseDelay                 Duration `json:"expired_close_delay"`
	ExpiredSubCloseDelay              Duration `json:"expired_sub_close_delay"`
	StaleCloseDelay                   Duration `json:"stale_close_delay"`
	ChannelLimit                      int      `json:"channel_limit"`
	QueueMaxSize                      int      `json:"queue_max_size"`
	RecoveryMaxPublicationLimit       int      `json:"recovery_max_publication_limit"`
	HistoryMaxPublicationLimit        int      `json:"history_max_publication_limit"`
	Proxy                             struct {
		Refresh ProxyConfig `json:"refresh"`
	} `json:"proxy"`
}

// ChannelConfig holds the namespaces and who is asked about them.
type ChannelConfig struct {
	MaxLength      int      `json:"max_length"`
	HistoryMetaTTL Duration `json:"history_meta_ttl"`
	Proxy          struct {
		Subscribe  ProxyConfig `json:"subscribe"`
		Publish    ProxyConfig `json:"publish"`
		SubRefresh ProxyConfig `json:"sub_refresh"`
	} `json:"proxy"`
	Namespaces []*Namespace `json:"namespaces"`
}

// ProxyConfig says where one kind of question goes.
type ProxyConfig struct {
	Enabled  Bool     `json:"enabled"`
	Endpoint Text     `json:"endpoint"`
	Timeout  Duration `json:"timeout"`
	HTTP     struct {
		StaticHeaders map[string]string `json:"static_headers"`
		Transforms    []Transform       `json:"status_to_code_transforms"`
	} `json:"http"`
}

// Transform makes an answer of an HTTP status.
type Transform struct {
	StatusCode   int              `json:"status_code"`
	ToError      *proxyError      `json:"to_error"`
	ToDisconnect *proxyDisconnect `json:"to_disconnect"`
}

// Namespace holds the options of channels whose name starts with its own.
type Namespace struct {
	Name                       string   `json:"name"`
	HistorySize                int      `json:"history_size"`
	HistoryTTL                 Duration `json:"history_ttl"`
	ForcePositioning           Bool     `json:"force_positioning"`
	AllowPositioning           Bool     `json:"allow_positioning"`
	ForceRecovery              Bool     `json:"force_recovery"`
	AllowRecovery              Bool     `json:"allow_recovery"`
	Presence                   Bool     `json:"presence"`
	JoinLeave                  Bool     `json:"join_leave"`
	ForcePushJoinLeave         Bool     `json:"force_push_join_leave"`
	AllowSubscribeForClient    Bool     `json:"allow_subscribe_for_client"`
	AllowPublishForClient      Bool     `json:"allow_publish_for_client"`
	AllowPublishForSubscriber  Bool     `json:"allow_publish_for_subscriber"`
	AllowPresenceForClient     Bool     `json:"allow_presence_for_client"`
	AllowPresenceForSubscriber Bool     `json:"allow_presence_for_subscriber"`
	AllowHistoryForClient      Bool     `json:"allow_history_for_client"`
	AllowHistoryForSubscriber  Bool     `json:"allow_history_for_subscriber"`
	SubscribeProxyEnabled      Bool     `json:"subscribe_proxy_enabled"`
	PublishProxyEnabled        Bool     `json:"publish_proxy_enabled"`
	SubRefreshProxyEnabled     Bool     `json:"sub_refresh_proxy_enabled"`
	PublicationDataFormat      string   `json:"publication_data_format"`
	ChannelRegex               string   `json:"channel_regex"`

	regex *regexp.Regexp
}

// Switch turns a part on.
type Switch struct {
	Enabled Bool `json:"enabled"`
}

// Duration is written as text, "5s"; a bare number is an error.
type Duration time.Duration

// UnmarshalJSON reads "5s".
func (d *Duration) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return fmt.Errorf("a duration is text such as \"5s\", not %s", raw)
	}
	return d.set(text)
}

func (d *Duration) set(text string) error {
	value, err := time.ParseDuration(text)
	*d = Duration(value)
	return err
}

// Bool is true or false, also as text.
type Bool bool

// UnmarshalJSON reads true and "true".
func (b *Bool) UnmarshalJSON(raw []byte) error {
	value, err := strconv.ParseBool(strings.Trim(string(raw), `"`))
	*b = Bool(value)
	return err
}

// Text is a string, or a number that is meant as one.
type Text string

// UnmarshalJSON reads "8000" and 8000.
func (t *Text) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] != '"' {
		var number json.Number
		err := json.Unmarshal(raw, &number)
		*t = Text(number)
		return err
	}
	return json.Unmarshal(raw, (*string)(t))
}

func defaults() *Config {
	c := &Config{}
	c.HTTPServer.Port = "8000"
	c.WebSocket.MessageSizeLimit = 65536
	c.WebSocket.WriteTimeout = Duration(time.Second)
	c.Engine.Type = "memory"
	c.Engine.Redis.Address = "redis://127.0.0.1:6379"
	c.Engine.Redis.Prefix = "centrifugo"
	c.Engine.Redis.PresenceTTL = Duration(time.Minute)
	c.Client.PingInterval = Duration(25 * time.Second)
	c.Client.PongTimeout = Duration(8 * time.Second)
	c.Client.PresenceUpdateInterval = Duration(27 * time.Second)
	c.Client.ChannelPositionCheckDelay = Duration(40 * time.Second)
	c.Client.ExpiredCloseDelay = Duration(25 * time.Second)
	c.Client.ExpiredSubCloseDelay = Duration(25 * time.Second)
	c.Client.StaleCloseDelay = Duration(10 * time.Second)
	c.Client.ChannelLimit = 128
	c.Client.QueueMaxSize = 1 << 20
	c.Client.RecoveryMaxPublicationLimit = 300
	c.Client.HistoryMaxPublicationLimit = 300
	c.Channel.MaxLength = 255
	c.Channel.HistoryMetaTTL = Duration(720 * time.Hour)
	for _, proxy := range c.proxies() {
		proxy.Timeout = Duration(time.Second)
	}
	return c
}

func (c *Config) proxies() []*ProxyConfig {
	return []*ProxyConfig{&c.Channel.Proxy.Subscribe, &c.Channel.Proxy.Publish, &c.Channel.Proxy.SubRefresh, &c.Client.Proxy.Refresh}
}

func load(path string) (*Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := defaults()
	if err := json.Unmarshal(raw, c); err != nil {
		return nil, err
	}
	if err := fromEnvironment(reflect.ValueOf(c).Elem(), "CENTRIFUGO"); err != nil {
		return nil, err
	}
	return c, c.validate()
}

// fromEnvironment lets CENTRIFUGO_A_B replace the value of {"a": {"b": ...}}.
func fromEnvironment(v reflect.Value, name string) error {
	if v.Kind() == reflect.Struct {
		for i := range v.NumField() {
			if tag := v.Type().Field(i).Tag.Get("json"); tag != "" {
				if err := fromEnvironment(v.Field(i), name+"_"+strings.ToUpper(tag)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	text := os.Getenv(name)
	if text == "" {
		return nil
	}
	var err error
	switch target := v.Addr().Interface().(type) {
	case *Duration:
		err = target.set(text)
	case *Text:
		*target = Text(text)
	case *[]string:
		*target = strings.Fields(text)
	case *Bool:
		err = target.UnmarshalJSON([]byte(text))
	default:
		v.SetZero()
		err = json.Unmarshal([]byte(text), target)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

var namespaceName = regexp.MustCompile(`^[-a-zA-Z0-9_.]{2,}$`)

func (c *Config) validate() error {
	if c.Engine.Type != "memory" && c.Engine.Type != "redis" {
		return fmt.Errorf("unknown engine %q", c.Engine.Type)
	}
	for _, proxy := range c.proxies() {
		if err := proxy.validate(); err != nil {
			return err
		}
	}
	if c.Client.Proxy.Refresh.Enabled && c.Client.Proxy.Refresh.Endpoint == "" {
		return errors.New("the refresh proxy has no endpoint")
	}
	seen := map[string]bool{}
	for _, ns := range c.Channel.Namespaces {
		if !namespaceName.MatchString(ns.Name) || seen[ns.Name] {
			return fmt.Errorf("namespace %q: a bad name, or one that is there already", ns.Name)
		}
		seen[ns.Name] = true
		if err := ns.validate(c); err != nil {
			return fmt.Errorf("namespace %q: %w", ns.Name, err)
		}
	}
	return nil
}

func (ns *Namespace) validate(c *Config) (err error) {
	ttl := time.Duration(ns.HistoryTTL)
	switch {
	case (ns.HistorySize > 0) != (ttl > 0):
		return errors.New("history_size and history_ttl go together")
	case ttl%time.Second != 0:
		return errors.New("history_ttl has parts of a second")
	case ttl > time.Duration(c.Channel.HistoryMetaTTL):
		return errors.New("history_ttl is longer than history_meta_ttl")
	case bool(ns.ForceRecovery) && ns.HistorySize == 0:
		return errors.New("recovery needs history")
	case bool(ns.SubscribeProxyEnabled) && c.Channel.Proxy.Subscribe.Endpoint == "",
		bool(ns.PublishProxyEnabled) && c.Channel.Proxy.Publish.Endpoint == "",
		bool(ns.SubRefreshProxyEnabled) && c.Channel.Proxy.SubRefresh.Endpoint == "":
		return errors.New("a proxy has no endpoint")
	}
	switch ns.PublicationDataFormat {
	case "", "json", "json_object", "binary":
	default:
		return fmt.Errorf("unknown publication_data_format %q", ns.PublicationDataFormat)
	}
	if ns.ChannelRegex != "" {
		ns.regex, err = regexp.Compile(ns.ChannelRegex)
	}
	return err
}

var variable = regexp.MustCompile(`\$\{(CENTRIFUGO_VAR_\w+)\}`)

func (p *ProxyConfig) validate() (err error) {
	for name, value := range p.HTTP.StaticHeaders {
		p.HTTP.StaticHeaders[name] = variable.ReplaceAllStringFunc(value, func(found string) string {
			text := os.Getenv(variable.FindStringSubmatch(found)[1])
			if text == "" {
				err = fmt.Errorf("%s is not set", found)
			}
			return text
		})
	}
	for _, transform := range p.HTTP.Transforms {
		if (transform.ToError == nil) == (transform.ToDisconnect == nil) {
			return fmt.Errorf("the transform of status %d needs to_error or to_disconnect", transform.StatusCode)
		}
	}
	return err
}

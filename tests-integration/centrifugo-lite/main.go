// Command centrifugo-lite is Centrifugo's engine in a small shell of this project's own. It is not Centrifugo.
//
// Tests run against it where Centrifugo itself cannot be had. README.md says what it answers otherwise.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const label = "centrifugo-lite: Centrifugo's engine, our shell"

func main() {
	if err := run(os.Args[1:]); err != nil {
		say("error", err.Error())
		os.Exit(1)
	}
}

func run(arguments []string) error {
	command := ""
	if len(arguments) > 0 && !strings.HasPrefix(arguments[0], "-") {
		command, arguments = arguments[0], arguments[1:]
	}
	flags := flag.NewFlagSet("centrifugo-lite", flag.ContinueOnError)
	file := flags.String("c", "config.json", "path of the configuration")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if command == "version" {
		fmt.Println(label)
		return nil
	}
	if command != "" {
		return fmt.Errorf("no command %q; there is: version", command)
	}
	config, err := load(*file)
	if err != nil {
		return err
	}
	return serve(config)
}

func say(level, message string) {
	_ = json.NewEncoder(os.Stdout).Encode(map[string]string{
		"level": level, "time": time.Now().UTC().Format(time.RFC3339), "message": message,
	})
}

func serve(config *Config) error {
	node, err := centrifuge.New(nodeConfig(config))
	if err != nil {
		return err
	}
	if config.Engine.Type == "redis" {
		if err := useRedis(node, config); err != nil {
			return err
		}
	}
	shell := newShell(config, node)
	if err := node.Run(); err != nil {
		return err
	}
	stopped, release := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer release()
	public, private := http.NewServeMux(), http.NewServeMux()
	if config.HTTPServer.InternalPort == "" {
		private = public
	}
	public.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		CheckOrigin:      func(r *http.Request) bool { return originAllowed(r, config.Client.AllowedOrigins) },
		MessageSizeLimit: config.WebSocket.MessageSizeLimit,
		WriteTimeout:     time.Duration(config.WebSocket.WriteTimeout),
		PingPongConfig: centrifuge.PingPongConfig{
			PingInterval: time.Duration(config.Client.PingInterval), PongTimeout: time.Duration(config.Client.PongTimeout),
		},
	}))
	for name := range shell.methods {
		private.HandleFunc("/api/"+name, shell.api(name))
	}
	private.HandleFunc("/api/batch", shell.api("batch"))
	if config.Health.Enabled {
		private.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte("{}"))
		})
	}
	if config.Prometheus.Enabled {
		private.Handle("/metrics", promhttp.Handler())
	}
	failed := make(chan error, 2)
	servers := []*http.Server{listen(public, config.HTTPServer.Address, config.HTTPServer.Port, failed)}
	if private != public {
		servers = append(servers, listen(private, config.HTTPServer.InternalAddress, config.HTTPServer.InternalPort, failed))
	}
	say("info", label)
	select {
	case err = <-failed:
	case <-stopped.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = errors.Join(err, node.Shutdown(ending))
	for _, server := range servers {
		err = errors.Join(err, server.Shutdown(ending))
	}
	return err
}

func listen(handler http.Handler, address, port Text, failed chan<- error) *http.Server {
	server := &http.Server{Handler: handler, Addr: net.JoinHostPort(string(address), string(port))}
	go func() {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	return server
}

func nodeConfig(config *Config) centrifuge.Config {
	hostname, _ := os.Hostname()
	client := config.Client
	return centrifuge.Config{
		// Answers carry the version; who compares them with Centrifugo's sets it to the one that was recorded.
		Version:                         cmp.Or(os.Getenv("LITE_VERSION"), label),
		Name:                            hostname + "_" + string(config.HTTPServer.Port),
		LogLevel:                        centrifuge.LogLevelInfo,
		LogHandler:                      func(entry centrifuge.LogEntry) { say(centrifuge.LogLevelToString(entry.Level), entry.Message) },
		ClientPresenceUpdateInterval:    time.Duration(client.PresenceUpdateInterval),
		ClientExpiredCloseDelay:         time.Duration(client.ExpiredCloseDelay),
		ClientExpiredSubCloseDelay:      time.Duration(client.ExpiredSubCloseDelay),
		ClientStaleCloseDelay:           time.Duration(client.StaleCloseDelay),
		ClientChannelPositionCheckDelay: time.Duration(client.ChannelPositionCheckDelay),
		ClientQueueMaxSize:              client.QueueMaxSize,
		ClientChannelLimit:              client.ChannelLimit,
		ChannelMaxLength:                config.Channel.MaxLength,
		HistoryMaxPublicationLimit:      client.HistoryMaxPublicationLimit,
		RecoveryMaxPublicationLimit:     client.RecoveryMaxPublicationLimit,
		HistoryMetaTTL:                  time.Duration(config.Channel.HistoryMetaTTL),
	}
}

func useRedis(node *centrifuge.Node, config *Config) error {
	redis := config.Engine.Redis
	shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: string(redis.Address)})
	if err != nil {
		return err
	}
	shards := []*centrifuge.RedisShard{shard}
	broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{Prefix: string(redis.Prefix), Shards: shards})
	if err != nil {
		return err
	}
	presence, err := centrifuge.NewRedisPresenceManager(node, centrifuge.RedisPresenceManagerConfig{
		Prefix: string(redis.Prefix), PresenceTTL: time.Duration(redis.PresenceTTL), Shards: shards,
	})
	if err != nil {
		return err
	}
	node.SetBroker(broker)
	node.SetPresenceManager(presence)
	return nil
}

// originAllowed lets everybody pass who sends no origin, which no browser leaves out.
func originAllowed(r *http.Request, patterns []string) bool {
	origin := strings.ToLower(r.Header.Get("Origin"))
	if origin == "" {
		return true
	}
	for _, pattern := range patterns {
		// An origin has two slashes, which stand still, and a star is for what is between them.
		if matched, err := path.Match(strings.ToLower(pattern), origin); err == nil && (matched || pattern == "*") {
			return true
		}
	}
	return false
}

// Several clients of ably-js in one process, driven by lines of JSON.
//
// In:   {"n": NUMBER, "client": NAME, "do": COMMAND, ...arguments}
// Out:  {"n": NUMBER, "result": RESULT} or {"n": NUMBER, "error": {code, statusCode, message}}, the answer to a command;
//       {"client": NAME, "event": EVENT, ...}, what a client said.
//
// Bytes are {"$bytes": BASE64}, in both directions.

import { createInterface } from "node:readline";
import * as Ably from "ably";

const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const clients = new Map();

// `presence.enter` attaches on the side, and nobody hears of that promise.
process.on("unhandledRejection", (error) => {
  if (!(error instanceof Ably.ErrorInfo)) throw error;
});

function told(value) {
  return value instanceof Uint8Array ? { $bytes: Buffer.from(value).toString("base64") } : value;
}

function meant(value) {
  return value !== null && typeof value === "object" && "$bytes" in value ? Buffer.from(value.$bytes, "base64") : value;
}

const facts = (error) => error && { code: error.code ?? null, statusCode: error.statusCode ?? null, message: error.message };

const message = ({ id, name, data, clientId, connectionId, serial }) =>
  ({ id, name: name ?? null, data: told(data ?? null), clientId: clientId ?? null, connectionId: connectionId ?? null, serial: serial ?? null });

const member = ({ action, clientId, connectionId, data }) =>
  ({ action, clientId, connectionId, data: told(data ?? null) });

// Where a client's tokens come from: signed here with a key, or asked of an application with the ably preset.
const tokens = {
  async key({ key, params = {} }) {
    return await new Ably.Rest({ key }).auth.createTokenRequest(params);
  },
  async app({ url, bearer }, wanted) {
    const response = await fetch(`${url}/ably/token`, {
      method: "POST",
      headers: { authorization: `Bearer ${bearer}`, "content-type": "application/json" },
      body: JSON.stringify({ channels: [...wanted] }),
    });
    if (!response.ok) throw Object.assign(new Error(`no token: ${response.status}`), { code: 40170, statusCode: response.status });
    return (await response.json()).token_request;
  },
};

class Client {
  constructor(name, options, auth) {
    this.name = name;
    this.wanted = new Set();
    this.auth = auth;
    const given = { ...options };
    if (auth) {
      const source = "key" in auth ? tokens.key : tokens.app;
      given.authCallback = async (_, done) => {
        this.tell("token");
        try {
          done(null, await source(auth, this.wanted));
        } catch (error) {
          done(error, null);
        }
      };
    }
    this.ably = new Ably.Realtime(given);
    this.ably.connection.on(({ current, previous, reason }) => {
      if (current !== previous) this.tell("connection", { state: current, reason: facts(reason) });
    });
  }

  tell(event, more = {}) {
    say({ client: this.name, event, ...more });
  }

  channel({ channel, params }) {
    const known = this.ably.channels.all[channel] !== undefined;
    const made = this.ably.channels.get(channel, params && { params });
    if (!known) {
      made.on(({ current, resumed, reason }) =>
        this.tell("channel", { channel, state: current, resumed: resumed ?? false, reason: facts(reason) }));
    }
    return made;
  }

  // -- commands -------------------------------------------------------------------------------------------------------

  async connect() {
    this.ably.connect();
  }

  async connected() {
    const { connection } = this.ably;
    if (connection.state !== "connected") {
      await new Promise((resolve, reject) => {
        connection.once("connected", resolve);
        connection.once("failed", ({ reason }) => reject(reason));
      });
    }
    return { id: connection.id, clientId: this.ably.auth.clientId ?? null };
  }

  async close() {
    const closed = this.ably.connection.state === "closed" ? Promise.resolve() : this.ably.connection.whenState("closed");
    this.ably.close();
    await closed;
  }

  async state() {
    const { connection } = this.ably;
    return { id: connection.id ?? null, state: connection.state, reason: facts(connection.errorReason) };
  }

  async ping() {
    return await this.ably.connection.ping();
  }

  // With `params`: these and all later tokens are for them.
  async authorize({ params }) {
    if (params) this.auth.params = params;
    const { token, clientId, capability } = await this.ably.auth.authorize();
    return { token, clientId: clientId ?? null, capability: capability ?? null };
  }

  async want({ channels }) {
    this.wanted = new Set(channels);
  }

  async attach(options) {
    const channel = this.channel(options);
    await channel.attach();
    return { state: channel.state, params: channel.params ?? {}, modes: (channel.modes ?? []).map((mode) => mode.toUpperCase()) };
  }

  async detach(options) {
    await this.channel(options).detach();
  }

  async subscribe(options) {
    const { channel } = options;
    await this.channel(options).subscribe((heard) => this.tell("message", { channel, ...message(heard) }));
  }

  async publish(options) {
    await this.channel(options).publish(options.name ?? null, meant(options.data));
  }

  async burst(options) {
    const channel = this.channel(options);
    const { first = 0, count } = options;
    await Promise.all(Array.from({ length: count }, (_, index) => channel.publish("n", { n: first + index })));
  }

  async history(options) {
    const { limit, direction, untilAttach } = options;
    const page = await this.channel(options).history({ limit, direction, untilAttach });
    return { messages: page.items.map(message), more: page.hasNext() };
  }

  async watch(options) {
    const { channel } = options;
    await this.channel(options).presence.subscribe((heard) => this.tell("presence", { channel, ...member(heard) }));
  }

  async enter(options) {
    await this.channel(options).presence.enter(options.data);
  }

  async crowd(options) {
    const { presence } = this.channel(options);
    await Promise.all(options.names.map((name) => presence.enterClient(name, options.data)));
  }

  async update(options) {
    await this.channel(options).presence.update(options.data);
  }

  async leave(options) {
    await this.channel(options).presence.leave();
  }

  async members(options) {
    return (await this.channel(options).presence.get()).map(member);
  }

  async recoveryKey() {
    return await this.ably.connection.createRecoveryKey();
  }

  async time() {
    return await this.ably.time();
  }
}

const COMMANDS = new Set(Object.getOwnPropertyNames(Client.prototype).filter((name) => !["constructor", "tell", "channel"].includes(name)));

async function run({ client, do: command, ...given }) {
  if (command === "open") {
    clients.set(client, new Client(client, given.options, given.auth));
    return null;
  }
  if (!COMMANDS.has(command)) throw new Error(`no command ${command}`);
  return (await clients.get(client)[command](given)) ?? null;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { n, ...command } = JSON.parse(line);
  run(command).then(
    (result) => say({ n, result }),
    (error) => say({ n, error: facts(error) }),
  );
}
await Promise.all([...clients.values()].map((client) => client.close()));
process.exit();

// A front end of its own on the channels of the centrifugo preset: what docs/centrifugo.md shows, driven by lines of JSON.
//
//   node client.mjs APP TOKEN     APP is where Realtime is mounted; TOKEN is what the application knows its user by.
//
// In:  {"subscribe": CHANNEL}, {"publish": CHANNEL, "data": DATA}.  Out: what happened, one JSON object a line.

import { createInterface } from "node:readline";
import { Centrifuge } from "centrifuge";

const [app, bearer] = process.argv.slice(2);
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

async function admission() {
  const response = await fetch(`${app}/token`, {
    method: "POST",
    headers: { authorization: `Bearer ${bearer}`, "content-type": "application/json" },
    body: "{}",
  });
  if (!response.ok) throw new Error(`no token: ${response.status}`);
  return await response.json();
}

const first = await admission();
const client = new Centrifuge(first.url, {
  token: first.token,
  getToken: async () => (await admission()).token,
  minReconnectDelay: 50,
  maxReconnectDelay: 500,
});
client.on("connected", () => say({ connected: true }));
client.on("disconnected", ({ code }) => say({ disconnected: code }));
client.connect();

function subscribe(channel) {
  const subscription = client.newSubscription(`rt:${channel}`);
  subscription.on("subscribed", ({ recovered }) => say({ subscribed: channel, recovered }));
  subscription.on("unsubscribed", ({ code }) => say({ refused: channel, code }));
  subscription.on("publication", ({ data }) => say({ received: channel, data }));
  subscription.subscribe();
}

async function publish(channel, data) {
  try {
    await client.publish(`rt:${channel}`, data);
    say({ published: channel });
  } catch (error) {
    say({ unpublished: channel, code: error.code });
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if ("subscribe" in command) subscribe(command.subscribe);
  else await publish(command.publish, command.data);
}
client.disconnect();

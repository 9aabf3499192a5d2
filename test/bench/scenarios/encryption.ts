/**
 * What encryption costs: the same work over encrypted and plain connections of one broker, in the same run. The peer of each is
 * itself without encryption.
 */
import { Effect, Redacted } from "effect"
import * as Crypto from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as CurveKeys from "../../../src/transport/CurveKeys.ts"
import * as Certificates from "../../harness/certificates.ts"
import { type Bench, type Contestant, perSecond, rate } from "../harness/Bench.ts"
import { type AnyParty, start, stopAll } from "../harness/party.ts"
import type * as BrokerParty from "../parties/broker.ts"
import type * as BrowsersParty from "../parties/browsers.ts"
import type * as ClientParty from "../parties/client.ts"

const receivers = 200
const windowOfFanOut = 12_800

export const run = async (bench: Bench): Promise<void> => {
  const folder = mkdtempSync(join(tmpdir(), "kosmonaut-bench-"))
  const broker = await start<BrokerParty.Functions>("broker")
  const urls = await broker.call("start", ["room"], await encryption(folder))
  const plain = await start<BrokerParty.Functions>("broker")
  const plainUrls = await plain.call("start", ["room"])
  const client = await start<ClientParty.Functions>("client")

  const requests = async (name: string, url: string, peer: boolean): Promise<Contestant> => {
    await client.call("connect", url)
    return {
      name,
      peer,
      parties: { client, broker },
      run: async (milliseconds) => perSecond(await client.call("request", url, "room", 64, milliseconds))
    }
  }
  // Every port of a broker with a key and a certificate serves those that do not encrypt as well.
  await bench.compare("64 requests in flight over ZeroMQ", [rate("requests")], [
    await requests("wrs", urls.zmq, false),
    await requests("wr", urls.zmq.replace(/^wrs:(.*)\?.*$/, "wr:$1"), true)
  ], { rounds: bench.few, warmUps: 1 })
  await bench.compare("64 requests in flight over TCP", [rate("requests")], [
    await requests("wrs+tcp", `${urls.tcp.replace(/\?.*/, "")}?fingerprint=${fingerprint}`, false),
    await requests("wr+tcp", urls.tcp.replace(/^wrs/, "wr").replace(/\?.*/, ""), true)
  ], { rounds: bench.few, warmUps: 1 })

  const encrypted = await fanOut("wss", broker, { ...urls.browsers, isEncrypted: true })
  const unencrypted = await fanOut("ws", plain, plainUrls.browsers)
  await bench.compare(`to ${receivers} browsers`, [rate("deliveries")], [
    encrypted.contestant,
    { ...unencrypted.contestant, peer: true }
  ], { rounds: bench.few, warmUps: 1 })
  await stopAll(encrypted, unencrypted, client, plain, broker)
  rmSync(folder, { recursive: true })
}

const fingerprint = new Crypto.X509Certificate(Certificates.contentOf("server").cert).fingerprint256.replaceAll(":", "")

const encryption = async (folder: string) => {
  const secretKeyFile = join(folder, "broker.key")
  writeFileSync(secretKeyFile, Redacted.value((await Effect.runPromise(CurveKeys.generate)).secretKey))
  return {
    tls: { cert: Certificates.certOf("server"), key: Certificates.keyOf("server") },
    curve: { secretKeyFile }
  }
}

type BrokerOf = AnyParty & Pick<Awaited<ReturnType<typeof start<BrokerParty.Functions>>>, "call" | "tell">

const fanOut = async (name: string, broker: BrokerOf, address: BrowsersParty.Address) => {
  const browsers = await start<BrowsersParty.Functions>("browsers")
  const group = await browsers.call("connect", address, receivers, `{":connected"`)
  await browsers.call("say", group, JSON.stringify({ subscribe: { channel: "room" } }), `{":subscribed"`)
  browsers.counts((more) => broker.tell("arrived", more))
  await browsers.call("countEvery", windowOfFanOut / 8)
  const contestant: Contestant = {
    name,
    parties: { broker, browsers },
    run: async (milliseconds) => perSecond(await broker.call("fanOut", receivers, windowOfFanOut, milliseconds))
  }
  return { contestant, stop: browsers.stop }
}

/**
 * Attacks by browsers that have no token.
 */
import { Effect } from "effect"
import { Client, Kosmonaut } from "../../../src/index.ts"
import { header } from "../../harness/RawWebSocket.ts"
import { address, again, alive, type Attack, browser, frame, many, push, say, type Target } from "../stranger.ts"

const subscribe = (channel: string, data?: object) => say({ subscribe: { channel, data } })

/** The backend's own Client, for attacks that need somebody who broadcasts. */
export const withClient = (
  target: Target,
  use: (client: Client.Client["Service"]) => Effect.Effect<unknown, unknown>
): Promise<unknown> =>
  Effect.runPromise(
    Effect.provide(
      Effect.flatMap(Client.Client, use),
      Kosmonaut.layer({ url: `${target.backend.replace("://", `://${target.token}@`)}/test` })
    )
  )

export const deaf: Attack = {
  name: "deaf browsers",
  sentence: "subscribe and never read, while a backend broadcasts messages of 35 bytes",
  flags: ["--browsers-outbox-size", "16MiB"],
  run: async (target) => {
    await many(16, async (n) => alive((await browser(target, [subscribe("room")], address(n))).pause()))
    // Large ones first, until the system's own buffers are full, so that the small ones have to wait in the broker.
    const large = { a: "x".repeat(100_000) }
    const small = Array.from({ length: 2000 }, () => ({ channel: "room", event: "e", data: { a: 1 } }))
    return withClient(target, (client) =>
      Effect.andThen(
        Effect.replicateEffect(client.broadcast("room", "e", large), 60, { discard: true }),
        Effect.forever(Effect.ignore(client.broadcastAll(small)))
      ))
  }
}

export const growingNumbers: Attack = {
  name: "growing numbers",
  sentence: "broadcast numbers that are longer when they are written again",
  flags: ["--browsers-broadcast"],
  run: async (target) => {
    const text = (size: number) =>
      frame(1, `{"broadcast":{"channel":"canary","event":"e","data":{"a":[${Array(size).fill("1e20").join(",")}]}}}`)
    const large = text(200_000)
    const sockets = await many(4, (n) => browser(target, [subscribe("canary")], address(n)))
    return again(200, () => sockets.forEach((socket) => push(socket, large)))
  }
}

export const hoarders: Attack = {
  name: "subscription data",
  ends: true,
  sentence: "subscribe to many channels with as much data as is allowed, in as many small parts as possible",
  run: async (target) => {
    const data = { a: Array(1300).fill({}) }
    const messages = Array.from({ length: 50 }, (_, n) => subscribe(`hall-${n}`, data))
    return many(400, async (n) => alive(await browser(target, messages, address(n))))
  }
}

const flood = (name: string, sentence: string, message: Buffer, begin: ReadonlyArray<Buffer> = []): Attack => ({
  name,
  sentence,
  run: async (target) => {
    const bytes = Buffer.concat(Array.from({ length: Math.ceil(20_000 / message.length) }, () => message))
    let sockets = await many(20, (n) => browser(target, begin, address(n)))
    return again(5, async () => {
      for (const socket of sockets) push(socket, bytes)
      sockets = await Promise.all(
        sockets.map(async (socket, n) => socket.destroyed ? browser(target, begin, address(n)) : socket)
      )
    })
  }
})

export const messageFlood = flood(
  "message flood",
  "subscribe and unsubscribe as fast as the connection carries it",
  Buffer.concat([subscribe("room"), say({ unsubscribe: { channel: "room" } })])
)

export const errorFlood = flood(
  "malformed messages",
  "send what is no message as fast as the connection carries it",
  frame(1, "{\"trigger\":[]}")
)

export const pingFlood = flood("ping flood", "ping as fast as the connection carries it", frame(9, "x".repeat(125)))

export const broadcastFlood: Attack = {
  ...flood(
    "broadcast flood",
    "broadcast to the canary's channel as fast as the connection carries it",
    say({ broadcast: { channel: "canary", event: "noise", data: { text: "x".repeat(200) } } }),
    [subscribe("canary")]
  ),
  flags: ["--browsers-broadcast"]
}

export const tokenGuessers = flood(
  "token guessers",
  "authenticate with one wrong token after the other",
  say({ auth: { token: "0123456789abcdef".repeat(8) } })
)

export const fragments: Attack = {
  name: "fragments",
  sentence: "send messages in endless fragments of one byte, and announce frames of a terabyte",
  run: async (target) => {
    const first = frame(1, "{", false)
    const parts = Buffer.concat(Array.from({ length: 2000 }, () => frame(0, " ", false)))
    const open = async (n: number) => {
      const socket = await browser(target, [n % 2 === 0 ? first : header(1, 2 ** 40)], address(n))
      return { socket, n }
    }
    let all = await many(40, open)
    return again(20, async () => {
      for (const { n, socket } of all) push(socket, n % 2 === 0 ? parts : "x".repeat(16_384))
      all = await Promise.all(all.map(async (one) => one.socket.destroyed ? open(one.n) : one))
    })
  }
}

/**
 * Those who send requests to a worker and wait for the responses: one browser of each kind, or a Client.
 */
import { Effect, Layer, ManagedRuntime } from "effect"
import { Browser } from "../../../src/browser/index.ts"
import * as Script from "../../../src/browser/script.ts"
import { Client, Kosmonaut } from "../../../src/index.ts"
import * as Fibers from "../harness/fibers.ts"
import * as Pace from "../harness/pace.ts"
import { load, type SocketIoClient, type Ws } from "../harness/peers.ts"
import * as Role from "../harness/role.ts"
import { Chat, data } from "./chat.ts"

const event = "chat/echo"
const { io } = load<SocketIoClient>("socket.io-client")
const { WebSocket: Ws } = load<Ws>("ws")

/** Keeps so many requests in flight, for so long. */
type Caller = (width: number, milliseconds: number) => Promise<Pace.Done>

const callers: Array<Caller> = []
const add = async (caller: Caller): Promise<number> => {
  await caller(1, 1)
  return callers.push(caller) - 1
}
const addPromise = (ask: () => Promise<unknown>): Promise<number> =>
  add((width, milliseconds) => Pace.request(width, milliseconds, ask))
const addEffect = (ask: Effect.Effect<unknown, unknown>): Promise<number> =>
  add((width, milliseconds) => Fibers.request(width, milliseconds, ask))

const socketIo = (url: string) => io(url, { transports: ["websocket"], forceNew: true })

const functions = {
  /** The messages of version 1 over the `ws` package, without a library. */
  raw: async (url: string, token: string): Promise<number> => {
    const socket = new Ws(`${url}?v=1`, { perMessageDeflate: false })
    const authenticated = Promise.withResolvers<void>()
    const pending = new Map<number, PromiseWithResolvers<unknown>>()
    let id = 0
    socket.on("open", () => socket.send(JSON.stringify({ auth: { token } })))
    socket.on("message", (text) => {
      const message = JSON.parse(String(text)) as { readonly [event: string]: { readonly id: number; data: unknown } }
      const response = message[":response"]
      if (response === undefined) return message[":authenticated"] && authenticated.resolve()
      pending.get(response.id)!.resolve(response.data)
      pending.delete(response.id)
    })
    await authenticated.promise
    return addPromise(() => {
      const response = Promise.withResolvers<unknown>()
      pending.set(++id, response)
      socket.send(JSON.stringify({ request: { event, data, id, timeout: 10_000 } }))
      return response.promise
    })
  },
  /** The script, over the WebSocket of the `ws` package, which the others have too. */
  script: (url: string, token: string): Promise<number> => {
    globalThis.WebSocket = Ws as never
    const connection = Script.connect<typeof Chat>(url, { token: () => token })
    return addPromise(() => connection.request(event, data))
  },
  /** `kosmonaut/browser`, over the same, from fibers. */
  browser: async (url: string, token: string): Promise<number> => {
    const layer = Browser.layerWithWebSocket({ url, token: Effect.succeed(token) }).pipe(
      Layer.provide(Layer.succeed(Browser.WebSocketConstructor, (url) => new Ws(url, {}) as never))
    )
    const runtime = ManagedRuntime.make(layer)
    const browser = await runtime.runPromise(Browser.Browser)
    return addEffect(browser.request(Chat.events.echo, data))
  },
  /** A Client, from fibers. */
  client: async (url: string): Promise<number> => {
    const client = await ManagedRuntime.make(Kosmonaut.layer({ url })).runPromise(Client.Client)
    return addEffect(client.request(Chat.events.echo, data))
  },
  /** `emitWithAck` of the package `socket.io-client`. */
  socketIo: (url: string, name: string): Promise<number> => {
    const socket = socketIo(url)
    return addPromise(() => socket.emitWithAck(name, data))
  },
  /** A client of Socket.IO that does what a worker does. */
  socketIoWorker: async (url: string): Promise<void> => {
    const socket = socketIo(url)
    socket.on("echo", ({ text }, respond) => respond({ text }))
    await socket.emitWithAck("work", {})
  },
  /** Keeps so many requests in flight, for so long. */
  request: (caller: number, width: number, milliseconds: number): Promise<Pace.Done> =>
    callers[caller]!(width, milliseconds)
}

export type Functions = typeof functions
Role.serve(functions)

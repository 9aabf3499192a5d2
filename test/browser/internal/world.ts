/**
 * The state machine in a world of its own: a clock, a network and a model of the broker, all in the hands of a test. The world
 * checks at every step what must always hold.
 */
import * as assert from "node:assert/strict"
import { expect } from "vitest"
import type { Call, Input } from "../../../src/browser/internal/input.ts"
import * as Machine from "../../../src/browser/internal/machine.ts"
import type { Options } from "../../../src/browser/internal/options.ts"
import type { CallResult, Output } from "../../../src/browser/internal/output.ts"

type Json = Record<string, any>

/** A connection between the machine and the broker. */
export interface Socket {
  readonly connection: number
  /** `undefined` until the broker has accepted it. */
  version: 0 | 1 | undefined
  /** The machine has received `:connected`, `:authenticated`. */
  isConnected: boolean
  isAuthenticated: boolean
  /** What the broker has not read yet, and what the machine has not received yet. */
  readonly toBroker: Array<string>
  readonly toBrowser: Array<Json>
  readonly subscriptions: Set<string>
  uid: string | undefined
  client: string | undefined
  /** Whether the user may join a channel, and when the authentication ends. */
  allows: (channel: string) => boolean
  endsAt: number
}

/** The tokens that the broker accepts. */
const tokens: { readonly [token: string]: Pick<Socket, "uid" | "allows"> } = {
  good: { uid: "joe", allows: () => true },
  narrow: { uid: "joe", allows: (channel) => channel !== "private-a" },
  other: { uid: "ann", allows: () => true }
}

/** What the broker retains of a channel with history. */
interface History {
  readonly opened: number
  floor: number
  entries: Array<{ readonly position: number; readonly exceptSid: string | undefined }>
}

/** How many broadcasts the broker retains of a channel, and how many it sends at once. */
const retained = 12
const partSize = 3

const numberOf = (epoch: string, position: number): number => Number(epoch.slice(6)) * 10_000 + position

/** The outputs of one kind. */
export type OutputOf<Tag extends Output["_tag"]> = Extract<Output, { readonly _tag: Tag }>

/** A machine and all around it. */
export class World {
  readonly machine: Machine.Machine
  readonly outputs: Array<Output> = []
  readonly results = new Map<number, CallResult>()
  readonly deadlines = new Map<number, number>()
  /** The channels that are open at the broker. */
  readonly open = new Set(["room", "private-a", "presence-b", ":user"])
  /** The token that is fetched when everything settles. */
  usual = "good"
  /** The channels to which the broker subscribes whoever authenticates. */
  granted: ReadonlyArray<string> = []
  /** How often the broker has executed each call, by the client and the id, and which calls it knows of each user. */
  readonly executed = new Map<string, number>()
  readonly #known = new Set<string>()
  /** How long an authentication with a broker of version 1 lasts. */
  expiresIn: number | undefined
  /** Everything that is on its way arrives at once when time passes. */
  isPrompt = false
  /** Whether `Flush` comes when the test says so, or when time passes; else it comes at once. */
  flushesLater = false
  #isFlushDue = false
  /** The fetches of tokens that have no response yet. */
  readonly fetches: Array<number> = []
  /** The channels with history, and the broker's log. */
  readonly histories = new Map<string, History>()
  epoch = "epoch 1"
  head = 100
  /** Why the broker could not recover, in the order of its responses. */
  readonly losses: Array<string> = []
  now = 1000
  random = 0.5
  timer = Infinity
  socket: Socket | undefined
  #lastCall = 0

  constructor(options: Partial<Options> = {}) {
    this.machine = Machine.make({ client: "client", hasToken: true, ...options })
  }

  give(input: Input): ReadonlyArray<Output> {
    if (input._tag === "Timer") this.timer = Infinity
    const outputs = Machine.step(this.machine, input, this.now, () => this.random)
    for (const output of outputs) this.#perform(output)
    this.outputs.push(...outputs)
    const { callBytes, calls, options } = this.machine
    // Of each input of many thousands: `expect` would take longer than the machine.
    assert.ok(calls.size <= options.maxCalls)
    assert.ok(callBytes <= options.maxCallBytes)
    assert.equal(callBytes, [...calls.values()].reduce((sum, { bytes }) => sum + bytes, 0))
    for (const [call, deadline] of this.deadlines) {
      assert.ok(this.results.has(call) || this.timer <= deadline, "a pending call has a timer")
    }
    if (!this.flushesLater) this.flush()
    return outputs
  }

  /** What the user did is done. */
  flush(): void {
    if (!this.#isFlushDue) return
    this.#isFlushDue = false
    this.give({ _tag: "Flush" })
  }

  /** All outputs of a kind, and forgets them. */
  taken<Tag extends Output["_tag"]>(tag: Tag): ReadonlyArray<OutputOf<Tag>> {
    return this.outputs.splice(0).filter((output): output is OutputOf<Tag> => output._tag === tag)
  }

  call(call: Partial<Call> & Pick<Call, "kind">): number {
    const number = ++this.#lastCall
    const { callTimeout } = this.machine.options
    this.deadlines.set(number, this.now + (call.timeout ?? callTimeout))
    this.give({ _tag: "Call", call: number, event: "chat/say", data: "{}", ...call })
    return number
  }

  /** The browser is connected, and authenticated if it has tokens. */
  connected(version: 0 | 1 = 1): this {
    this.give({ _tag: "Connect" })
    this.accept(version)
    this.settle()
    return this
  }

  accept(version: 0 | 1 = 1): void {
    if (this.socket === undefined || this.socket.version !== undefined) return
    this.socket.version = version
    this.socket.toBrowser.push({
      ":connected": { sid: `sid-${this.socket.connection}`, ...(version === 1 && { v: 1, pingInterval: 20_000 }) }
    })
  }

  /** The connection ends; what was on its way to either side is lost. */
  drop(code: number, reason = ""): void {
    if (this.socket === undefined) return
    const { connection } = this.socket
    this.socket = undefined
    this.give({ _tag: "Closed", connection, code, reason })
  }

  token(token: string | undefined | { readonly failure: string }): void {
    const fetch = this.fetches.shift()
    if (fetch === undefined) return
    this.give(
      typeof token === "object"
        ? { _tag: "TokenFailed", fetch, message: token.failure }
        : { _tag: "TokenFetched", fetch, token }
    )
  }

  /** Time passes, and the timer comes whenever it should. */
  pass(milliseconds: number): void {
    this.flush()
    const end = this.now + milliseconds
    for (let turns = 0; Math.min(this.timer, this.socket?.endsAt ?? Infinity) <= end; turns++) {
      expect(turns, "the timer does not come without an end").toBeLessThan(10_000)
      const endsAt = this.socket?.endsAt ?? Infinity
      this.now = Math.max(this.now, Math.min(this.timer, endsAt))
      if (endsAt <= this.now) this.drop(4501)
      else this.give({ _tag: "Timer" })
      if (this.isPrompt) {
        this.accept(1)
        this.settle()
      }
    }
    this.now = end
  }

  /** The channel has a history from now on. */
  retain(channel: string): this {
    this.histories.set(channel, { opened: this.head, floor: this.head, entries: [] })
    return this
  }

  /** A backend broadcasts. Returns what the message says: a number that is larger than those before. */
  broadcast(channel: string, exceptSid?: string): number {
    const position = ++this.head
    const history = this.histories.get(channel)
    history?.entries.push({ position, exceptSid })
    while (history !== undefined && history.entries.length > retained) history.floor = history.entries.shift()!.position
    const { socket } = this
    if (socket?.subscriptions.has(channel) === true && `sid-${socket.connection}` !== exceptSid) {
      this.#sendBroadcast(socket, channel, position, history !== undefined)
    }
    return numberOf(this.epoch, position)
  }

  /** The broker subscribes the browser by itself. */
  offer(channel: string): void {
    const { socket } = this
    if (socket?.version !== 1 || socket.uid === undefined || socket.subscriptions.has(channel)) return
    this.#subscribe(
      socket,
      { channel },
      (fields) => socket.toBrowser.push({ ":subscribed": this.#subscribedTo(socket, channel, fields) })
    )
  }

  /** A backend unsubscribes the browser. */
  revoke(channel: string): void {
    const { socket } = this
    if (socket?.subscriptions.delete(channel) !== true) return
    socket.toBrowser.push({ ":unsubscribed": { channel, ...(socket.version === 1 && { reason: "backend" }) } })
  }

  /** The broker has lost its log. */
  restart(): void {
    this.epoch = `epoch ${Number(this.epoch.slice(6)) + 1}`
    this.head = 10
    for (const channel of this.histories.keys()) this.retain(channel)
    this.drop(1006)
  }

  /** The broker reads one message. */
  process(): boolean {
    const text = this.socket?.toBroker.shift()
    if (text === undefined) return false
    const message = JSON.parse(text)
    if (Array.isArray(message)) {
      expect(message.length).toBeLessThanOrEqual(256)
      for (const one of message) this.#execute(this.socket!, one)
    } else this.#execute(this.socket!, message)
    return true
  }

  /** The machine receives one message. */
  deliver(): boolean {
    const { socket } = this
    const message = socket?.toBrowser.shift()
    if (socket === undefined || message === undefined) return false
    if (":connected" in message) socket.isConnected = true
    if (":authenticated" in message) socket.isAuthenticated = true
    this.give({ _tag: "Message", connection: socket.connection, message })
    return true
  }

  /** Everything that is on its way arrives, and tokens are good. */
  settle(): void {
    let turns = 0
    for (let goesOn = true; goesOn;) {
      this.flush()
      expect(turns++, "messages do not go to and fro without an end").toBeLessThan(1000)
      goesOn = this.fetches.length > 0
      if (goesOn) this.token(this.usual)
      if (this.process() || this.deliver()) goesOn = true
    }
  }

  #perform(output: Output): void {
    switch (output._tag) {
      case "Connect":
        expect(this.socket, "one connection at a time").toBeUndefined()
        this.socket = {
          connection: output.connection,
          version: undefined,
          isConnected: false,
          isAuthenticated: false,
          toBroker: [],
          toBrowser: [],
          subscriptions: new Set(),
          uid: undefined,
          client: undefined,
          allows: () => false,
          endsAt: Infinity
        }
        break
      case "Disconnect":
        expect(this.socket, "there is a connection to close").toBeDefined()
        this.socket = undefined
        break
      case "Send":
        expect(this.socket?.isConnected, "nothing is sent before :connected").toBe(true)
        this.socket!.toBroker.push(output.text)
        this.#mayBeSent(this.socket!, output.text)
        break
      case "Flush":
        expect(this.#isFlushDue, "one flush at a time").toBe(false)
        this.#isFlushDue = true
        break
      case "SetTimer":
        expect(output.at).not.toBe(this.timer)
        expect(output.at).toBeLessThan(Infinity)
        this.timer = output.at
        break
      case "ClearTimer":
        expect(this.timer).toBeLessThan(Infinity)
        this.timer = Infinity
        break
      case "FetchToken":
        this.fetches.push(output.fetch)
        break
      case "Settle":
        expect(this.results.has(output.call), "a call ends once").toBe(false)
        expect(this.deadlines.has(output.call)).toBe(true)
        this.results.set(output.call, output.result)
    }
  }

  #mayBeSent(socket: Socket, text: string): void {
    const parsed = JSON.parse(text)
    if (Array.isArray(parsed)) expect(socket.version).toBe(1)
    for (const message of [parsed].flat() as ReadonlyArray<Json>) {
      const [[event, payload]] = Object.entries(message) as [[string, Json]]
      const needsUser = ["trigger", "request"].includes(event) ||
        (event === "subscribe" && payload.channel !== "room" && payload.channel !== "lobby")
      if (needsUser) expect(socket.isAuthenticated, `${event} is sent by a user`).toBe(true)
      if (socket.version === 0) {
        expect(["auth", "subscribe", "unsubscribe", "trigger", "broadcast", "members"]).toContain(event)
        if (event !== "members") expect(payload.id ?? payload.client).toBeUndefined()
      }
    }
  }

  #execute(socket: Socket, message: Json): unknown {
    const [[event, payload]] = Object.entries(message) as [[string, Json]]
    const { channel, id } = payload
    const respond = (name: string, fields: Json) =>
      socket.toBrowser.push({ [name]: { ...fields, ...(id !== undefined && { id }) } })
    const fail = (code: number) =>
      respond(":error", {
        code,
        status: `status ${code}`,
        ...(socket.version === 1 && { event, channel, reason: `reason ${code}` })
      })
    const isUser = socket.uid !== undefined
    switch (event) {
      case "auth":
        return Object.hasOwn(tokens, payload.token) ? this.#authenticate(socket, payload) : fail(402)
      case "subscribe":
        if (channel === "private-x" || (channel.startsWith("p") && !socket.allows(channel))) return fail(403)
        if (channel === ":user" && !isUser) return fail(403)
        if (!this.open.has(channel) || (channel === ":user" && socket.version === 0)) return fail(454)
        if (socket.subscriptions.has(channel) && id === undefined) return undefined
        return this.#subscribe(
          socket,
          payload,
          (fields) => respond(":subscribed", this.#subscribedTo(socket, channel, fields))
        )
      case "unsubscribe":
        if (!socket.subscriptions.delete(channel)) return fail(453)
        return respond(":unsubscribed", { channel })
      case "ping":
        return respond(":pong", {})
      case "cancel":
        return undefined
      case "update":
        if (!socket.subscriptions.has(channel)) return fail(453)
        return respond(":updated", { channel })
      case "broadcast":
        if (!socket.subscriptions.has(channel)) return fail(453)
        this.#count(socket, id, false)
        return id !== undefined && respond(":triggered", {})
      case "trigger":
        if (!isUser) return fail(403)
        this.#count(socket, id, true)
        return id !== undefined && respond(":triggered", {})
      case "request":
        if (!isUser) return fail(403)
        expect(payload.timeout).toBeGreaterThan(0)
        this.#count(socket, id, true)
        return payload.event === "chat/fail"
          ? respond(":response", { error: "no" })
          : respond(":response", { data: { n: 1 } })
      default:
        return fail(400)
    }
  }

  #authenticate(socket: Socket, { client, token }: Json): void {
    const { allows, uid } = tokens[token]!
    const isRenewal = socket.version === 1 && socket.uid === uid
    if (socket.uid !== undefined && !isRenewal) socket.subscriptions.clear()
    socket.uid = uid
    socket.client = client
    socket.allows = allows
    socket.endsAt = socket.version === 1 && this.expiresIn !== undefined ? this.now + this.expiresIn : Infinity
    const channels = this.granted.length > 0 ? this.granted : undefined
    socket.toBrowser.push({
      ":authenticated": socket.version === 1 ? { uid, expiresIn: this.expiresIn, channels } : {}
    })
    for (const channel of [...socket.subscriptions]) {
      if (!channel.startsWith("p") || allows(channel)) continue
      socket.subscriptions.delete(channel)
      socket.toBrowser.push({ ":unsubscribed": { channel, reason: "forbidden" } })
    }
    for (const channel of this.granted) {
      if (this.open.has(channel)) this.offer(channel)
      else if (socket.version === 1) {
        socket.toBrowser.push({ ":error": { code: 454, status: "status 454", event: "subscribe", channel } })
      }
    }
  }

  #subscribedTo(socket: Socket, channel: string, fields: Json): Json {
    return {
      channel,
      ...fields,
      ...(socket.uid !== undefined && { uid: socket.uid }),
      ...(fields.more !== true && channel.startsWith("presence") && { subscribers: [] })
    }
  }

  #sendBroadcast(socket: Socket, channel: string, position: number, hasHistory: boolean): void {
    const isPositioned = hasHistory && socket.version === 1
    const n = numberOf(this.epoch, position)
    socket.toBrowser.push(
      channel === ":user"
        ? { said: { n }, ":user": position }
        : { said: { n, channel }, ...(isPositioned && { ":at": position }) }
    )
  }

  #subscribe(socket: Socket, { channel, rewind, since }: Json, respond: (fields: Json) => unknown): unknown {
    const history = this.histories.get(channel)
    if (history === undefined || socket.version === 0) {
      socket.subscriptions.add(channel)
      return respond({})
    }
    const reason = since === undefined
      ? undefined
      : since.epoch !== this.epoch
      ? "epoch"
      : since.position < history.opened
      ? "closed"
      : since.position < history.floor
      ? "dropped"
      : undefined
    if (reason !== undefined) this.losses.push(reason)
    const isRecovered = since !== undefined && reason === undefined
    const own = [since?.sid, `sid-${socket.connection}`]
    const after = isRecovered
      ? since.position
      : rewind === undefined
      ? this.head
      : history.entries.at(-rewind - 1)?.position ?? 0
    const all = history.entries.filter(({ exceptSid, position }) =>
      position > after && (exceptSid === undefined || !own.includes(exceptSid))
    )
    const part = all.slice(0, partSize)
    const more = all.length > partSize
    if (!more) socket.subscriptions.add(channel)
    respond({
      epoch: this.epoch,
      position: more ? part.at(-1)!.position : this.head,
      ...(since !== undefined && { recovered: isRecovered, ...(reason !== undefined && { reason }) }),
      missed: part.length,
      more
    })
    for (const { position } of part) this.#sendBroadcast(socket, channel, position, true)
  }

  #count({ client, uid }: Socket, id: unknown, isRemembered: boolean): void {
    if (id === undefined) return
    const [key, ofUser] = [JSON.stringify([client, id]), JSON.stringify([uid, client, id])]
    // The broker knows the calls of a user by the client and the id.
    if (isRemembered && uid !== undefined && this.#known.has(ofUser)) return
    this.#known.add(ofUser)
    this.executed.set(key, (this.executed.get(key) ?? 0) + 1)
  }
}

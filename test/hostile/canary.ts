/**
 * A browser, a Client and a Worker as a good application has them. The Client broadcasts numbered messages that the browser
 * hears, the browser triggers numbered events that the Worker handles, and all of it is written down.
 */
import { Clock, Deferred, Effect, Exit, Fiber, Layer, Redacted } from "effect"
import * as Tls from "node:tls"
import { Client, Kosmonaut, Worker } from "../../src/index.ts"
import * as Certificates from "../harness/certificates.ts"
import { eventually } from "../harness/eventually.ts"
import { check, type Received, type Sent } from "./checker.ts"
import type { Target } from "./stranger.ts"

/** How often it sends something of each kind. */
const pause = "20 millis"

/** How long it waits for an answer, and at the end for what is still on its way. */
const patience = "10 seconds"

interface Report {
  readonly sent: number
  readonly faults: ReadonlyArray<string>
  /** The longest time in milliseconds from sending to receiving. */
  readonly worst: number
}

/** Begins, and goes on until its end is run, which gives what it has to report. */
export const begin = Effect.fnUntraced(function*(target: Target) {
  yield* trusting
  const { client } = yield* backend(urlOf(target, "backend"), { client: { requestTimeout: patience } })
  const { worker } = yield* backend(urlOf(target, "backendTcp"), { worker: { concurrency: 1 } })
  const broadcasts = record()
  const triggers = record()
  let enough = false

  const browser = yield* connect(`${target.websocket}/test`, broadcasts, triggers)
  const token = yield* client.requestSingleAccessToken("canary", "canary")
  yield* browser.ask({ auth: { token: Redacted.value(token) } }, ":authenticated")
  yield* browser.ask({ subscribe: { channel: "canary" } }, ":subscribed")
  const now = yield* monotonic
  yield* Effect.forkScoped(worker.listen({
    onMessage: ({ data, attempt }) =>
      Effect.sync(() => void triggers.received.push({ n: data["n"] as number, at: now(), attempt }))
  }))

  const broadcast = (n: number) =>
    Effect.gen(function*() {
      broadcasts.begin(n, now())
      const exit = yield* Effect.exit(client.broadcast("canary", "canary", { n }))
      broadcasts.end(n, Exit.isSuccess(exit) ? "confirmed" : "refused")
    })
  const trigger = (n: number) =>
    Effect.sync(() => {
      triggers.begin(n, now())
      browser.send({ trigger: { event: "canary", data: { n }, id: n } })
    })
  const counting = (send: (n: number) => Effect.Effect<void>) => {
    let n = 0
    return Effect.whileLoop({
      while: () => !enough,
      body: () => Effect.andThen(Effect.suspend(() => send(n++)), Effect.sleep(pause)),
      step: () => {}
    })
  }
  const fibers = [yield* Effect.forkScoped(counting(broadcast)), yield* Effect.forkScoped(counting(trigger))]
  const isDone = () =>
    !browser.isOpen() ||
    [broadcasts, triggers].every(({ received, sent }) => {
      const outcomes = [...sent.values()].map(({ outcome }) => outcome)
      return !outcomes.includes("unknown") &&
        received.length >= outcomes.filter((outcome) => outcome === "confirmed").length
    })
  return {
    end: Effect.gen(function*() {
      enough = true
      yield* Effect.forEach(fibers, Fiber.join, { discard: true }).pipe(
        Effect.andThen(eventually(Effect.sync(isDone), (done) => done, Infinity)),
        Effect.timeoutOption(patience)
      )
      const verdicts = [
        check("broadcast", [...broadcasts.sent.values()], broadcasts.received),
        check("trigger", [...triggers.sent.values()], triggers.received)
      ]
      const report: Report = {
        sent: broadcasts.sent.size + triggers.sent.size,
        faults: [
          ...browser.isOpen() ? [] : [`its browser was disconnected: ${browser.reason()}`],
          ...verdicts.flatMap(({ faults }) => faults)
        ],
        worst: Math.max(...verdicts.map(({ worst }) => worst))
      }
      return report
    })
  }
})

// Over TCP the scheme alone says whether it is encrypted.
const urlOf = ({ serverKey, token, ...target }: Target, transport: "backend" | "backendTcp"): string => {
  const base = serverKey === undefined ? target[transport] : target[transport].replace("wr+tcp:", "wrs+tcp:")
  const query = base.startsWith("wrs:") ? `?serverKey=${serverKey}` : ""
  return `${base.replace("://", `://${token}@`)}/test${query}`
}

// Layers of their own, so that two of them are not one.
const backend = (url: string, options: Partial<Kosmonaut.Options>) =>
  Effect.map(
    Layer.build(Layer.fresh(Kosmonaut.layer({ url, transport: { tls: { ca: Certificates.ca } }, ...options }))),
    (context) => ({
      client: Effect.runSync(Effect.provide(Client.Client, context)),
      worker: Effect.runSync(Effect.provide(Worker.Worker, context))
    })
  )

// What `WebSocket` trusts, which has no option for it. Others in this process trust it until the scope ends, too.
const trusting = Effect.acquireRelease(
  Effect.sync(() => {
    const before = Tls.getCACertificates("default")
    Tls.setDefaultCACertificates([...before, Certificates.ca])
    return before
  }),
  (before) => Effect.sync(() => Tls.setDefaultCACertificates(before))
)

const monotonic = Effect.map(Clock.Clock, () => () => performance.now())

const record = () => {
  const sent = new Map<number, Sent>()
  const received: Array<Received> = []
  return {
    sent,
    received,
    begin: (n: number, at: number) => void sent.set(n, { n, at, outcome: "unknown" }),
    end: (n: number, outcome: Sent["outcome"]) => void sent.set(n, { ...sent.get(n)!, outcome })
  }
}

const connect = Effect.fnUntraced(function*(
  url: string,
  broadcasts: ReturnType<typeof record>,
  triggers: ReturnType<typeof record>
) {
  const socket = yield* Effect.acquireRelease(
    Effect.sync(() => new WebSocket(url)),
    (socket) => Effect.sync(() => socket.close())
  )
  const answers = new Map<string, Deferred.Deferred<void>>()
  const answer = (event: string): Deferred.Deferred<void> => {
    const deferred = answers.get(event) ?? Deferred.makeUnsafe<void>()
    answers.set(event, deferred)
    return deferred
  }
  const connected = answer(":connected")
  let reason = "its network was cut"
  socket.addEventListener("close", (closed) => void (reason = `${closed.code} ${closed.reason}`))
  socket.addEventListener("message", ({ data }) => {
    const text = String(data)
    // What strangers broadcast may be large, and is not for the canary.
    if (!/^\{"(canary|:)/.test(text)) return
    const [event, payload] = Object.entries(JSON.parse(text))[0] as [
      string,
      { readonly n: number; readonly id?: number }
    ]
    if (event === "canary") broadcasts.received.push({ n: payload.n, at: performance.now() })
    else if (event === ":triggered") triggers.end(payload.id!, "confirmed")
    else if (event === ":error" && payload.id !== undefined) triggers.end(payload.id, "refused")
    else Deferred.doneUnsafe(answer(event), Exit.void)
  })
  yield* Deferred.await(connected)
  return {
    isOpen: () => socket.readyState === WebSocket.OPEN,
    /** Why it is not open any more. */
    reason: () => reason,
    send: (message: object) => socket.send(JSON.stringify(message)),
    ask: (message: object, event: string) =>
      Effect.suspend(() => {
        socket.send(JSON.stringify(message))
        return Deferred.await(answer(event))
      })
  }
})

/**
 * docs/examples/cluster, as it is, is deployed while browsers, Clients and Workers use it: nothing that was confirmed is lost.
 */
import { assert, expect, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Redacted } from "effect"
import { execFileSync } from "node:child_process"
import * as Net from "node:net"
import { fileURLToPath } from "node:url"
import * as Script from "../src/browser/script.ts"
import { Client, Kosmonaut, Worker } from "../src/index.ts"
import { main, startNode } from "./cli/program.ts"
import * as Bundle from "./harness/bundle.ts"
import { eventually } from "./harness/eventually.ts"
import { describeWithRedis } from "./harness/redisServer.ts"

const path = (file: string) => fileURLToPath(new URL(file, import.meta.url))

/** An address of this process alone, since the example has fixed ports. All of 127.0.0.0/8 is this machine. */
const host = `127.${100 + process.pid % 100}.${process.pid >> 8 & 255}.${1 + process.pid % 250}`

const isInstalled = (program: string): boolean =>
  Exit.isSuccess(Effect.runSyncExit(Effect.try(() => execFileSync("which", [program], { stdio: "ignore" }))))

/** Starts the example, and ends it with the scope, so that all that it has started ends, too. */
const cluster = Effect.gen(function*() {
  const KOSMONAUT_PROGRAM = yield* Effect.promise(() => Bundle.of(main))
  const env = { HOST: host, KOSMONAUT_PROGRAM }
  const program = yield* startNode(path("../docs/examples/cluster/cluster.ts"), [], { env, stdin: true })
  yield* Effect.addFinalizer(() => Effect.andThen(program.kill("SIGTERM"), program.output))
  const [, token] = yield* program.says("stdout", /wr:\/\/(\w+)@/)
  yield* program.says("stdout", /Press Enter/)
  return { program, backends: [1, 2, 3].map((n) => `wr+tcp://${token}@${host}:802${n}/chat`) }
})

/** A Client and a Worker at one of the nodes. */
const backend = (url: string) =>
  Effect.map(
    Layer.build(Layer.fresh(Kosmonaut.layer({ url }))),
    (context) => ({ client: Context.get(context, Client.Client), worker: Context.get(context, Worker.Worker) })
  )

/** A browser of the library, behind nginx, on the channel, and what it is told. */
const browser = Effect.fnUntraced(function*(uid: string, clients: ReadonlyArray<Client.Client["Service"]>) {
  const token = Effect.raceAll(clients.map((client) => client.requestSingleAccessToken(uid, ".*")))
  const connection = yield* Effect.acquireRelease(
    Effect.sync(() =>
      Script.connect(`ws://${host}:8000/chat`, { token: () => Effect.runPromise(Effect.map(token, Redacted.value)) })
    ),
    ({ close }) => Effect.sync(close)
  )
  const received: Array<Numbered> = []
  const gaps: Array<unknown> = []
  const nodes: Array<string> = []
  const codes: Array<number> = []
  const room = connection.subscribe("room")
  room.on("count", (data) => void received.push(data as unknown as Numbered))
  room.onGap((reason) => gaps.push(reason))
  connection.onState((state) => {
    if (state._tag === "Connected" && !nodes.includes(state.sid.slice(0, 8))) nodes.push(state.sid.slice(0, 8))
    if (state._tag === "Waiting") codes.push(state.code)
  })
  yield* eventually(Effect.sync(() => room.state._tag), (tag) => tag === "Subscribed")
  return { uid, connection, received, gaps, nodes, codes }
})

interface Numbered {
  readonly sender: string
  readonly n: number
}

/** Sends one after the other until it is told to end and `least` are confirmed, and gives those that were. */
const sending = Effect.fnUntraced(function*(
  sender: string,
  least: number,
  send: (numbered: Numbered) => Effect.Effect<unknown, unknown>
) {
  const confirmed: Array<number> = []
  let ending = false
  let n = 0
  const one = Effect.suspend(() => send({ sender, n })).pipe(
    Effect.exit,
    Effect.tap((exit) => Effect.sync(() => Exit.isSuccess(exit) && confirmed.push(n))),
    Effect.andThen(Effect.sleep("250 millis"))
  )
  const fiber = yield* Effect.forkScoped(
    Effect.whileLoop({
      while: () => !ending || confirmed.length < least,
      body: () => one,
      step: () => void n++
    })
  )
  return {
    sender,
    end: Effect.suspend(() => {
      ending = true
      return Effect.as(Fiber.join(fiber), confirmed)
    })
  }
})

const isOpen = (port: number) =>
  Effect.callback<boolean>((resume) => {
    const socket = Net.connect(port, host, () => resume(Effect.succeed(true)))
    socket.on("error", () => resume(Effect.succeed(false)))
    return Effect.sync(() => socket.destroy())
  })

const describeCluster = (tests: () => void) => {
  if (isInstalled("nginx")) describeWithRedis("docs/examples/cluster", tests)
  else console.log(`Skipped "docs/examples/cluster": nginx was not found on the PATH.`)
}

describeCluster(() => {
  it.live("is deployed, and no browser and no worker misses anything", () =>
    Effect.gen(function*() {
      yield* Effect.scoped(Effect.gen(function*() {
        const { backends, program } = yield* cluster
        const page = yield* Effect.promise(() => fetch(`http://${host}:8000/`).then((response) => response.text()))
        assert.include(page, "This tab is on the node")
        const parts = yield* Effect.forEach(backends, backend)
        const clients = parts.map(({ client }) => client)
        const handled = new Set<string>()
        for (const { worker } of parts) {
          yield* Effect.forkScoped(worker.listen({
            onMessage: ({ data }) =>
              Effect.delay(Effect.sync(() => handled.add(JSON.stringify([data["sender"], data["n"]]))), 5)
          }))
        }
        const browsers = yield* Effect.forEach(
          Array.from({ length: 12 }, (_, n) => `user-${n}`),
          (uid) => browser(uid, clients),
          { concurrency: "unbounded" }
        )
        const before = new Set(browsers.flatMap(({ nodes }) => nodes))
        assert.strictEqual(before.size, 3)

        const broadcasting = yield* Effect.forEach(
          clients,
          (client, n) => sending(`client-${n}`, 20, (data) => client.broadcast("room", "count", { ...data }))
        )
        const triggering = yield* Effect.forEach(
          browsers,
          ({ connection, uid }) => sending(uid, 1, (data) => Effect.tryPromise(() => connection.trigger("count", data)))
        )
        yield* program.type("\n")
        yield* program.says("stdout", /All nodes are new/)

        for (const { end, sender } of broadcasting) {
          const confirmed = yield* end
          for (const { gaps, received } of browsers) {
            const numbers = Effect.sync(() => received.filter((one) => one.sender === sender).map(({ n }) => n))
            yield* eventually(numbers, (all) => all.includes(confirmed.at(-1)!))
            const all = yield* numbers
            assert.deepStrictEqual(all, [...new Set(all)].toSorted((a, b) => a - b))
            assert.deepStrictEqual(confirmed.filter((n) => !all.includes(n)), [])
            assert.deepStrictEqual(gaps, [])
          }
        }
        for (const { end, sender } of triggering) {
          const confirmed = yield* end
          const missing = Effect.sync(() => confirmed.filter((n) => !handled.has(JSON.stringify([sender, n]))))
          yield* eventually(missing, ({ length }) => length === 0)
        }
        for (const { codes, connection, nodes } of browsers) {
          assert.strictEqual(connection.state._tag, "Connected")
          assert.isFalse(before.has(nodes.at(-1)!))
          assert.strictEqual(codes[0], 1001)
        }
        const { stdout } = yield* program.says("stdout", /All nodes are new/).pipe(
          Effect.andThen(program.kill("SIGTERM")),
          Effect.andThen(program.output)
        )
        expect(stdout.match(/ended with status 0/g)).toHaveLength(3)
      }))
      for (const port of [8000, 8001, 8002, 8003, 8004]) assert.isFalse(yield* isOpen(port), `${port}`)
    }), 120_000)
})

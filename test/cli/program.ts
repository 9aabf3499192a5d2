/**
 * The command line, in this process or as a child process: what it is given, and what it writes. A child process is killed
 * with its scope, by its id.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert } from "@effect/vitest"
import { ConfigProvider, Console, Context, Deferred, Effect, Exit, Layer, Schema, Sink, Stdio, Stream } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { format } from "node:util"
import * as CommandLine from "../../src/cli/CommandLine.ts"
import * as KosmonautProgram from "../../src/cli/Program.ts"
import * as Bundle from "../harness/bundle.ts"
import { token } from "../harness/TestBroker.ts"

/** What a program said, once it has ended. */
export interface Output {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A program that runs. */
interface Program {
  /** Waits until what it has said on standard output, or on standard error, matches. */
  readonly says: (where: "stdout" | "stderr", pattern: RegExp) => Effect.Effect<RegExpExecArray>
  readonly type: (text: string) => Effect.Effect<void>
  readonly endInput: Effect.Effect<void>
  readonly kill: (signal: "SIGINT" | "SIGTERM" | "SIGKILL") => Effect.Effect<void>
  /** Waits for its end. */
  readonly output: Effect.Effect<Output>
}

export interface Options {
  readonly env?: Record<string, string> | undefined
  /** What it reads; without it, nothing. `true` leaves the input open. */
  readonly stdin?: string | true | undefined
}

/** The command line. */
export const main = new URL("../../src/cli/Main.ts", import.meta.url).pathname

/** How long anything may take. */
const patience = "50 seconds"

/** Starts `kosmonaut` with these arguments. */
export const start = (args: ReadonlyArray<string>, options?: Options) => startNode(main, args, options)

/** Starts a program of Node.js, given by its source, with these arguments. */
export const startNode = (source: string, args: ReadonlyArray<string> = [], options?: Options) =>
  Effect.flatMap(
    Effect.promise(() => Bundle.of(source)),
    (file) => startProgram(process.execPath, [file, ...args], options)
  )

/** Starts a program, which is killed at the end of the scope. */
export const startProgram = Effect.fnUntraced(function*(
  command: string,
  args: ReadonlyArray<string>,
  options: Options = {}
) {
  const { FORCE_COLOR: _, KOSMONAUT_URL: __, KOSMONAUT_TOKEN: ___, ...env } = process.env
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(command, args, {
        env: { ...env, ...Bundle.cache, ...options.env },
        stdio: [options.stdin === undefined ? "ignore" : "pipe", "pipe", "pipe"]
      })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  if (typeof options.stdin === "string") child.stdin!.end(options.stdin)
  return yield* observe(child)
})

const observe = Effect.fnUntraced(function*(child: ChildProcess) {
  const said = { stdout: "", stderr: "" }
  const ended = yield* Deferred.make<number | null>()
  const watchers = new Set<() => void>()
  for (const where of ["stdout", "stderr"] as const) {
    child[where]!.setEncoding("utf8").on("data", (text: string) => {
      said[where] += text
      watchers.forEach((watch) => watch())
    })
  }
  child.on("close", (status) => Deferred.doneUnsafe(ended, Exit.succeed(status)))
  const bounded = <A>(effect: Effect.Effect<A>, what: string) =>
    Effect.timeoutOrElse(effect, {
      duration: patience,
      orElse: () => Effect.die(new Error(`${what} did not come; it said ${JSON.stringify(said)}`))
    })

  const program: Program = {
    says: (where, pattern) =>
      bounded(
        Effect.callback<RegExpExecArray>((resume) => {
          const watch = () => {
            const match = pattern.exec(said[where])
            if (match !== null) resume(Effect.succeed(match))
          }
          watchers.add(watch)
          watch()
          return Effect.sync(() => watchers.delete(watch))
        }).pipe(
          Effect.raceFirst(
            Effect.flatMap(Deferred.await(ended), () =>
              Effect.die(new Error(`It has ended and said ${JSON.stringify(said)}`)))
          )
        ),
        `${pattern} on ${where}`
      ),
    type: (text) => Effect.sync(() => child.stdin!.write(text)),
    endInput: Effect.sync(() => child.stdin!.end()),
    kill: (signal) => Effect.sync(() => child.kill(signal)),
    output: Effect.map(bounded(Deferred.await(ended), "the end"), (status) => ({ status, ...said }))
  }
  return program
})

/** Runs `kosmonaut` with these arguments to its end, in a process of its own. */
export const runProcess = (args: ReadonlyArray<string>, options?: Options): Effect.Effect<Output> =>
  Effect.scoped(Effect.flatMap(start(args, options), ({ output }) => output))

/** The same, from its sources as they are. */
export const runSources = (...args: ReadonlyArray<string>): Effect.Effect<Output> =>
  Effect.scoped(Effect.flatMap(startProgram(process.execPath, [main, ...args]), ({ output }) => output))

/** Runs `kosmonaut` with these arguments to its end, in this process: everything but `Main.ts`. */
export const run = Effect.fnUntraced(
  function*(args: ReadonlyArray<string>, options?: { readonly env?: Record<string, string>; readonly stdin?: string }) {
    const written = { stdout: "", stderr: "" }
    const writeTo = (where: keyof typeof written) => (...parts: ReadonlyArray<unknown>) => {
      written[where] += `${format(...parts)}\n`
    }
    const sink = (where: keyof typeof written) => () =>
      Sink.forEach((part: string | Uint8Array) =>
        Effect.sync(() => written[where] += typeof part === "string" ? part : Buffer.from(part).toString())
      )
    const ownConsole: Console.Console = Object.assign(Object.create(console) as Console.Console, {
      log: writeTo("stdout"),
      error: writeTo("stderr")
    })
    const stdio = Stdio.layerTest({
      stdout: sink("stdout"),
      stderr: sink("stderr"),
      stdin: options?.stdin === undefined ? Stream.empty : Stream.make(Buffer.from(options.stdin))
    })
    const exit = yield* KosmonautProgram.run(args).pipe(
      Effect.provide(Layer.merge(NodeServices.layer, stdio)),
      Effect.provideService(Console.Console, ownConsole),
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env: options?.env ?? {} })),
      Effect.timeoutOrElse({
        duration: patience,
        orElse: () => Effect.die(new Error(`The end did not come; it has written ${JSON.stringify(written)}`))
      }),
      Effect.exit
    )
    let status: number | null = null
    CommandLine.teardown(exit, (code) => {
      status = code
    })
    const output: Output = { status, ...written }
    return output
  }
)

/** It was told off in one sentence that says this, with a status that says so, no stack and no token. */
export const assertWrong = ({ status, stderr, stdout }: Output, ...parts: ReadonlyArray<string>) => {
  assert.strictEqual(status, 1, stderr)
  assert.strictEqual(stdout, "")
  assert.match(stderr, /^kosmonaut: [^\n]+\n$/)
  for (const part of parts) assert.include(stderr, part)
  assertDiscreet(stderr)
}

/** It tells neither a token nor where it was in its source. */
export const assertDiscreet = (text: string) => {
  assert.notMatch(text, /\n\s+at /)
  assert.notInclude(text, token.slice(0, 12))
  assert.notInclude(text, token.slice(-12))
}

/** What the ready line of `serve` says. */
const Ready = Schema.Struct({
  websocket: Schema.String,
  backend: Schema.String,
  backendTcp: Schema.String,
  admin: Schema.String,
  // The token is there if nobody gave it.
  vhosts: Schema.Array(Schema.Struct({ path: Schema.String, token: Schema.optionalKey(Schema.String) }))
})

export const freePorts = ["--websocket-port", "0", "--backend-port", "0", "--tcp-port", "0", "--admin-port", "0"]

/** Starts `kosmonaut serve` on free ports and waits until it is ready. */
export const serve = (...args: ReadonlyArray<string>) => serveWith({}, ...args)

/** The same with these variables of the environment. */
export const serveWith = (env: Record<string, string>, ...args: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const program = yield* start(["serve", ...freePorts, ...args], { env })
    const [, json] = yield* program.says("stdout", /^ready (.*)\n/)
    const ready = yield* Effect.orDie(Schema.decodeEffect(Schema.fromJsonString(Ready))(json!))
    return { program, ready }
  })

/** What a broker prints on standard error that has a cookie which nobody knows. */
export const unknownCookie =
  /^kosmonaut: Nobody knows the cookie of administrators, at http:\S+: set KOSMONAUT_ADMIN_COOKIE, or --storage-dir [^\n]+\n$/

/** The two ways to a broker, each to a vhost of its own, so that their workers are not in each other's way. */
export const transports = [{ name: "ZeroMQ", vhost: "/zmq" }, { name: "TCP", vhost: "/tcp" }] as const

/** A served broker whose vhosts have the channel `room`, for many tests. */
export class Served extends Context.Service<Served, {
  readonly websocket: string
  readonly urls: Record<(typeof transports)[number]["vhost"], string>
}>()("test/cli/Served") {
  static readonly layer = Layer.effect(
    Served,
    Effect.map(
      serve("--vhost", "/zmq", "--vhost", "/tcp", "--token", token, "--token", token, "--channel", "room"),
      ({ ready }) => ({
        websocket: ready.websocket,
        urls: {
          "/zmq": `${ready.backend.replace("://", `://${token}@`)}/zmq`,
          "/tcp": `${ready.backendTcp.replace("://", `://${token}@`)}/tcp`
        }
      })
    )
  )
}

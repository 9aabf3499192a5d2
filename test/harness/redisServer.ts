/**
 * A Redis of a test's own: on a free port of this machine, with a folder of its own, gone with its scope. It can be killed,
 * frozen and started again. Where no `redis-server` is on the PATH, tests that need one are skipped, and a line says so.
 */
import { describe } from "@effect/vitest"
import { Deferred, Effect, Exit, Redacted, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import { delimiter, join } from "node:path"
import { temporaryFolder } from "./temporaryFolder.ts"

/** A Redis that runs. */
export interface RedisServer {
  readonly port: number
  readonly url: Redacted.Redacted
  /** Its process. */
  readonly pid: () => number
  /** Ends it at once, as a crash does. */
  readonly kill: Effect.Effect<void>
  /** Ends it in order: what it persists is on disk. */
  readonly end: Effect.Effect<void>
  /** Starts it again on the same port, with what it has persisted. */
  readonly restart: Effect.Effect<void>
  /** Freezes it: connections stand, and nothing is answered. */
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
}

export interface Options {
  /** What outlasts its process, default nothing. */
  readonly persistence?: "aof" | "rdb" | undefined
  /** More of its arguments, which come last and win. */
  readonly args?: ReadonlyArray<string> | undefined
}

/** Whether there is one. */
export const isInstalled = (process.env["PATH"] ?? "").split(delimiter).some((folder) =>
  Fs.existsSync(join(folder, "redis-server"))
)

/**
 * Declares tests that need a Redis, each of which starts its own. They run together, since much of their time is waiting: leases end by
 * the time of Redis.
 */
export const describeWithRedis = (name: string, tests: () => void): void => {
  if (isInstalled) return void describe(name, { concurrent: true, timeout: 120_000 }, tests)
  process.stderr.write(`Skipped "${name}": redis-server was not found on the PATH.\n`)
  describe.skip(name, tests)
}

/** Starts one, and waits until it answers. */
export const start = Effect.fnUntraced(function*(options: Options = {}): Effect.fn.Return<
  RedisServer,
  never,
  Scope.Scope
> {
  const folder = yield* temporaryFolder
  let port = yield* freePort
  let child: Child | undefined
  yield* Effect.addFinalizer(() => Effect.suspend(() => child === undefined ? Effect.void : child.signal("SIGKILL")))
  const begin = Effect.suspend(() => {
    child = spawnOne(argumentsOf(port, folder, options))
    return child.ready
  })
  const end = (signal: NodeJS.Signals) => Effect.suspend(() => child!.signal(signal))
  // Another process may have got the port in between.
  for (let left = 5; !(yield* begin) && left > 0; left--) port = yield* freePort
  return {
    port,
    url: Redacted.make(`redis://127.0.0.1:${port}`),
    pid: () => child!.process.pid!,
    kill: end("SIGKILL"),
    end: end("SIGTERM"),
    restart: Effect.flatMap(
      begin,
      (isReady) => isReady ? Effect.void : Effect.die(new Error(`redis-server did not start: ${child!.log()}`))
    ),
    freeze: Effect.sync(() => void child!.process.kill("SIGSTOP")),
    thaw: Effect.sync(() => void child!.process.kill("SIGCONT"))
  }
})

interface Child {
  readonly process: ChildProcess
  /** `false` if it ended before it was ready. */
  readonly ready: Effect.Effect<boolean>
  /** Sends it a signal, and waits for its end. */
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
  readonly log: () => string
}

const spawnOne = (args: ReadonlyArray<string>): Child => {
  const process = spawn("redis-server", args, { stdio: ["ignore", "pipe", "pipe"] })
  const ready = Deferred.makeUnsafe<boolean>()
  const ended = Deferred.makeUnsafe<void>()
  let log = ""
  for (const output of [process.stdout, process.stderr]) {
    output.setEncoding("utf8").on("data", (text: string) => {
      // Only its beginning tells whether it could start.
      if (log.length < 20_000) log += text
      if (log.includes("Ready to accept connections")) Deferred.doneUnsafe(ready, Exit.succeed(true))
    })
  }
  process.on("close", () => {
    Deferred.doneUnsafe(ready, Exit.succeed(false))
    Deferred.doneUnsafe(ended, Exit.void)
  })
  return {
    process,
    ready: Deferred.await(ready),
    signal: (signal) =>
      Effect.suspend(() => {
        process.kill(signal)
        // One that is frozen ends only when it goes on, unless it is killed.
        if (signal !== "SIGKILL") process.kill("SIGCONT")
        return Deferred.await(ended)
      }),
    log: () => log
  }
}

const argumentsOf = (port: number, folder: string, { args = [], persistence }: Options): ReadonlyArray<string> => [
  ...["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--daemonize", "no"],
  ...["--save", persistence === "rdb" ? "3600 1" : "", "--maxmemory-policy", "noeviction"],
  ...["--appendonly", persistence === "aof" ? "yes" : "no", "--appendfsync", "always"],
  ...args
]

const freePort = Effect.callback<number>((resume) => {
  const server = Net.createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address() as Net.AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

/**
 * `kosmonaut serve` as it is, in a process with little memory and few descriptors, and what it costs.
 */
import { Deferred, Effect, Exit, Redacted } from "effect"
import { spawn } from "node:child_process"
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as CurveKeys from "../../src/transport/CurveKeys.ts"
import * as Bundle from "../harness/bundle.ts"
import * as Certificates from "../harness/certificates.ts"
import { temporaryFolder } from "../harness/temporaryFolder.ts"
import { token } from "../harness/TestBroker.ts"
import type { Inside } from "./probe.ts"
import type { Attack, Target } from "./stranger.ts"

/** How much memory its heap may have, in MiB, and how many descriptors the process. */
const heapSize = 512
const descriptors = 2048

/** How long its end may take. */
export const shutdownTimeout = 2000

/** What administrators show. */
const cookie = "89abcdef".repeat(5)

/** The channels that it has from the start: `room`, and 50 more. */
const halls = Array.from({ length: 50 }, (_, n) => `hall-${n}`)

/** What the process costs now. */
export interface Cost extends Inside {
  /** Bytes of its memory that are in use by the system's account. */
  readonly rss: number
  readonly descriptors: number
}

export interface Broker {
  readonly target: Target
  /** What the process costs; `undefined` if it has ended. */
  readonly cost: (question?: "look" | "collect") => Effect.Effect<Cost | undefined>
  /** How many bytes it has logged. */
  readonly logged: () => number
  /** The first lines of its log. */
  readonly log: () => string
  /** How it ended, if it has. */
  readonly end: () => string | undefined
  /** Ends it in order; gives how it ended, and after how many milliseconds. */
  readonly stop: Effect.Effect<{ readonly how: string; readonly after: number }>
}

// Only Linux tells it of another process.
const outside = (pid: number): Pick<Cost, "rss" | "descriptors"> =>
  existsSync("/proc/self/fd")
    ? {
      rss: 4096 * Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]),
      descriptors: readdirSync(`/proc/${pid}/fd`).length
    }
    : { rss: 0, descriptors: 0 }

const path = (file: string) => fileURLToPath(new URL(file, import.meta.url))

const args = (main: string, flags: ReadonlyArray<string>) => [
  ...["--expose-gc", `--max-old-space-size=${heapSize}`, "--import", path("probe.ts"), main],
  ...[
    "serve",
    "--vhost",
    "/test",
    "--websocket-port",
    "0",
    "--backend-port",
    "0",
    "--tcp-port",
    "0",
    "--admin-port",
    "0"
  ],
  // Strangers come from other addresses of this machine than the canary, and those count.
  ...["--trusted-proxy", "127.0.0.1"],
  ...["--browsers-ping-interval", "3s", "--drain-time", "0s", "--shutdown-timeout", `${shutdownTimeout}ms`],
  ...["room", "canary", ...halls].flatMap((channel) => ["--channel", channel]),
  ...flags.includes("--browsers-outbox-size") ? [] : ["--browsers-outbox-size", "1MiB"],
  ...flags
]

const encryption = Effect.gen(function*() {
  const file = join(yield* temporaryFolder, "broker.key")
  writeFileSync(file, Redacted.value((yield* CurveKeys.generate).secretKey))
  return [
    ...["--tls-cert", Certificates.certOf("server"), "--tls-key", Certificates.keyOf("server")],
    ...["--curve-secret-key-file", file]
  ]
})

/** Starts one and waits until it is ready. It is killed with the scope. */
export const start = Effect.fnUntraced(function*(attack: Pick<Attack, "flags" | "encrypted">) {
  const flags = [...attack.flags ?? [], ...attack.encrypted === true ? yield* encryption : []]
  const main = yield* Effect.promise(() => Bundle.of(path("../../src/cli/Main.ts")))
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn("sh", ["-c", `ulimit -n ${descriptors}; exec "$0" "$@"`, process.execPath, ...args(main, flags)], {
        env: {
          ...process.env,
          KOSMONAUT_TOKEN: token,
          KOSMONAUT_ADMIN_COOKIE: cookie,
          ...Bundle.cache
        },
        stdio: ["ignore", "pipe", "pipe", "ipc"]
      })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  const ready = yield* Deferred.make<Omit<Target, "token" | "cookie">>()
  const ended = yield* Deferred.make<string>()
  const answers: Array<Deferred.Deferred<Cost | undefined>> = []
  let how: string | undefined
  let logged = 0
  let log = ""
  const hear = (chunk: Buffer) => {
    logged += chunk.length
    if (log.length < 4000) log += chunk.toString()
    const said = /^ready (.*)\n/.exec(log)
    if (said === null) return
    const { admin, backend, backendTcp, serverKey, websocket } = JSON.parse(said[1]!)
    Deferred.doneUnsafe(
      ready,
      Exit.succeed<Omit<Target, "token" | "cookie">>({ admin, backend, backendTcp, serverKey, websocket })
    )
    log = log.slice(said[0].length)
    logged = log.length
  }
  child.stdout!.on("data", hear)
  child.stderr!.on("data", hear)
  child.on("message", (inside: Inside) =>
    Deferred.doneUnsafe(
      answers.shift()!,
      Exit.succeed(how === undefined ? { ...inside, ...outside(child.pid!) } : undefined)
    ))
  child.on("exit", (code, signal) => {
    how = signal ?? `status ${code}`
    Deferred.doneUnsafe(ended, Exit.succeed(how))
    for (const answer of answers) Deferred.doneUnsafe(answer, Exit.succeed(undefined))
  })
  const target = yield* Effect.raceFirst(
    Deferred.await(ready),
    Effect.flatMap(Deferred.await(ended), (how) => Effect.die(new Error(`The broker ended, ${how}: ${log}`)))
  )
  const broker: Broker = {
    target: { ...target, token, cookie },
    cost: (question = "look") =>
      Effect.suspend(() => {
        if (how !== undefined || !child.connected) return Effect.undefined
        const answer = Deferred.makeUnsafe<Cost | undefined>()
        answers.push(answer)
        child.send(question, () => {})
        return Deferred.await(answer)
      }),
    logged: () => logged,
    log: () => log,
    end: () => how,
    stop: Effect.suspend(() => {
      const began = performance.now()
      child.kill("SIGTERM")
      return Deferred.await(ended).pipe(
        Effect.timeoutOrElse({ duration: 2 * shutdownTimeout, orElse: () => Effect.succeed("not at all") }),
        Effect.map((how) => ({ how, after: performance.now() - began }))
      )
    })
  }
  return broker
})

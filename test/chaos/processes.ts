/**
 * The programs that bad things happen to, as processes.
 */
import { Deferred, Duration, Effect, Exit, type Scope } from "effect"
import { spawn } from "node:child_process"
import { createServer } from "node:net"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as Bundle from "../harness/bundle.ts"
import type { Answers } from "./broker.ts"
import * as Replacements from "./replacements.ts"

type Signal = "SIGKILL" | "SIGTERM" | "SIGSTOP" | "SIGCONT"

interface Process {
  readonly tell: (signal: Signal) => void
  readonly write: (line: string) => void
  /** Waits for its end, which is a defect where nobody has told it to end. */
  readonly ended: Effect.Effect<void>
}

/** Starts a program of this folder; `onLine` hears what it says. It is killed with its scope. */
export const start = Effect.fnUntraced(
  function*(
    program: string,
    args: ReadonlyArray<string>,
    onLine: (line: string) => void,
    replacements: ReadonlyArray<Replacements.Replacement> = []
  ) {
    const ended = yield* Deferred.make<void>()
    let told = false
    const command = yield* commandOf(program, replacements)
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [...command, ...args], {
          env: { ...process.env, ...Bundle.cache, [Replacements.variable]: JSON.stringify(replacements) },
          stdio: ["pipe", "pipe", "inherit"]
        })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    child.on("exit", (code, signal) => {
      const end = told ? Exit.void : Exit.die(new Error(`${program} ended by itself: ${code ?? signal}`))
      Deferred.doneUnsafe(ended, end)
    })
    // One that has been killed reads no more.
    child.stdin.on("error", () => {})
    createInterface({ input: child.stdout }).on("line", onLine)
    const process_: Process = {
      tell: (signal) => {
        told ||= signal === "SIGKILL" || signal === "SIGTERM"
        child.kill(signal)
      },
      write: (line) => void child.stdin.write(`${line}\n`),
      ended: Deferred.await(ended)
    }
    return process_
  }
)

// Only sources have what is replaced.
const commandOf = (
  program: string,
  replacements: ReadonlyArray<Replacements.Replacement>
): Effect.Effect<ReadonlyArray<string>> => {
  const urlOf = (file: string) => new URL(file, import.meta.url)
  const source = fileURLToPath(urlOf(program))
  return replacements.length > 0
    ? Effect.succeed(["--import", urlOf("./replacements.ts").href, source])
    : Effect.promise(async () => [await Bundle.of(source)])
}

// Every process begins elsewhere.
let ports = process.pid * 997

/**
 * A port that is free, that this process has given to nobody lately, and that the system gives to no connection meanwhile, as it picks
 * higher ones.
 */
export const freePort: Effect.Effect<number> = Effect.suspend(() => {
  const port = 20_000 + ports++ % 12_000
  return Effect.callback<number>((resume) => {
    const server = createServer()
    server.on("error", () => resume(freePort))
    server.listen(port, "127.0.0.1", () => server.close(() => resume(Effect.succeed(port))))
  })
})

/** How a broker is started. */
interface StartOptions {
  readonly replacements?: ReadonlyArray<Replacements.Replacement> | undefined
  /** Whether it is started again if it ends before it is up, as a node does without Redis. Default no. */
  readonly retries?: boolean
}

/** A broker that can be killed and started again, where it was before. */
export const startBroker = Effect.fnUntraced(
  function*(options: Record<string, unknown>, startOptions: StartOptions = {}) {
    const faults: Array<string> = []
    const begin = beginBroker([JSON.stringify(options)], faults, startOptions)
    let isUp = true
    let current = yield* begin
    const again = Effect.fnUntraced(function*(signal: Signal) {
      isUp = false
      const [took] = yield* Effect.timed(Effect.andThen(Effect.sync(() => current.tell(signal)), current.ended))
      current = yield* begin
      isUp = true
      return Duration.toMillis(took)
    })
    return {
      /** What has failed in it that must not. */
      faults,
      isUp: () => isUp,
      tell: (signal: Signal) => current.tell(signal),
      /** Asks for something. `undefined` where it is killed before it answers. */
      ask: <Question extends keyof Answers>(line: Question): Effect.Effect<Answers[Question] | undefined> =>
        Effect.suspend(() => {
          const answer = Deferred.makeUnsafe<unknown>()
          current.asked.push(answer)
          current.write(line)
          return Effect.raceFirst(
            Deferred.await(answer) as Effect.Effect<Answers[Question]>,
            Effect.as(current.ended, undefined)
          )
        }),
      /** Kills it, and starts it again. */
      killAndStart: Effect.asVoid(again("SIGKILL")),
      /** Ends it in order, and starts it again. Returns in how many milliseconds it has ended. */
      endAndStart: again("SIGTERM")
    }
  }
)

type Begun = Process & { readonly asked: Array<Deferred.Deferred<unknown>> }

const beginBroker = (args: ReadonlyArray<string>, faults: Array<string>, options: StartOptions) => {
  let attempts = options.retries === true ? 200 : 1
  const begin: Effect.Effect<Begun, never, Scope.Scope> = Effect.gen(function*() {
    const ready = yield* Deferred.make<void>()
    const asked: Array<Deferred.Deferred<unknown>> = []
    const running = yield* start("./broker.ts", args, (line) => {
      const said = JSON.parse(line)
      if ("fault" in said) faults.push(`in the broker: ${said.fault}`)
      else if ("ready" in said) Deferred.doneUnsafe(ready, Exit.void)
      else Deferred.doneUnsafe(asked.shift()!, Exit.succeed(said))
    }, options.replacements)
    const ended = yield* Effect.raceFirst(Deferred.await(ready), Effect.exit(running.ended))
    if (ended === undefined) return { ...running, asked }
    if (--attempts === 0) {
      return yield* Effect.die(new Error(`The broker was not up when it ended: ${String(ended)}`))
    }
    return yield* Effect.delay(begin, "300 millis")
  })
  return begin
}

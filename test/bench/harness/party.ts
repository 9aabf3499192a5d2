/**
 * The benchmark's side of a party, a process of its own. What Node.js compiles for one the next need not compile.
 */
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Common, Functions } from "./role.ts"

/** A process that does what it is asked. */
export interface Party<F extends Functions> {
  readonly call: <Name extends keyof (F & Common) & string>(
    name: Name,
    ...args: Parameters<(F & Common)[Name]>
  ) => Promise<Awaited<ReturnType<(F & Common)[Name]>>>
  /** Asks without an answer. */
  readonly tell: <Name extends keyof F & string>(name: Name, ...args: Parameters<F[Name]>) => void
  /** Who hears what this one counts, from now on. */
  readonly counts: (listener: (more: number) => void) => void
  readonly stop: () => Promise<void>
}

/** Any party, for what all of them can do. */
export type AnyParty = Pick<Party<Record<never, never>>, "call" | "stop">

const compiled = fileURLToPath(new URL("../node_modules/.compiled", import.meta.url))
const running = new Set<ChildProcess>()

process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")))
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1))

/** Starts a party; what it prints goes to standard error. */
export const start = async <F extends Functions>(name: string, ...args: ReadonlyArray<string>): Promise<Party<F>> => {
  const child = fork(new URL(`../parties/${name}.ts`, import.meta.url), args, {
    env: { ...process.env, NODE_COMPILE_CACHE: compiled },
    execArgv: ["--expose-gc", "--disable-warning=ExperimentalWarning"],
    stdio: ["ignore", 2, 2, "ipc"]
  })
  running.add(child)
  const waiting = new Map<number, PromiseWithResolvers<never>>()
  const ready = Promise.withResolvers<void>()
  let listener = (_more: number): void => {}
  let ids = 0
  let stopped = false
  child.on("message", (message: { id?: number; value?: never; error?: string; count?: number; ready?: true }) => {
    if (message.count !== undefined) return listener(message.count)
    if (message.ready === true) return ready.resolve()
    const asked = waiting.get(message.id ?? -1)
    waiting.delete(message.id ?? -1)
    if (message.error === undefined) asked?.resolve(message.value!)
    else if (asked === undefined) throw new Error(`${name}: ${message.error}`)
    else asked.reject(new Error(`${name}: ${message.error}`))
  })
  const ended = new Promise<void>((resolve) =>
    child.on("exit", (code, signal) => {
      running.delete(child)
      resolve()
      if (stopped) return
      const error = new Error(`${name} has ended: ${signal ?? code}`)
      ready.reject(error)
      for (const { reject } of waiting.values()) reject(error)
    })
  )
  await ready.promise
  return {
    call: (name, ...args) => {
      const answer = Promise.withResolvers<never>()
      waiting.set(++ids, answer)
      child.send({ id: ids, name, args })
      return answer.promise
    },
    tell: (name, ...args) => void child.send({ name, args }),
    counts: (next) => void (listener = next),
    stop: () => {
      stopped = true
      child.kill("SIGKILL")
      return ended
    }
  }
}

/** Two parties of the same kind. */
export const startPair = async <F extends Functions>(name: string) => {
  const [client, server] = await Promise.all([start<F>(name), start<F>(name)])
  return { client, server, stop: () => stopAll(client, server) }
}

/** Ends all that there are of these. */
export const stopAll = async (
  ...parties: ReadonlyArray<{ readonly stop: () => Promise<void> } | undefined>
): Promise<void> => void await Promise.all(parties.map(async (party) => party?.stop()))

/**
 * A network between two parties on this machine, as one port in front of another: it can be cut and can stall.
 */
import { Effect } from "effect"
import * as Net from "node:net"

export interface TcpProxy {
  readonly port: number
  /** How many connections go through it now, with those that are about to end. */
  readonly connections: () => number
  /** Ends a connection, as a fault of the network does: that of this place, or all. Gives how many were ended. */
  readonly cut: (which: number | "all") => Effect.Effect<number>
  /** Ends the connection on which the next request or answer comes, and loses that. */
  readonly cutAtNext: (what: "request" | "answer") => void
  /** How many were ended so. */
  readonly cutsAtNext: () => number
  /** Forwards nothing until it is told to go on as often as it was told to stall. Connections stand, and new ones do. */
  readonly stall: Effect.Effect<void>
  /** Forwards nothing any more on the connection of this place. */
  readonly stallOne: (which: number) => Effect.Effect<void>
  readonly goOn: Effect.Effect<void>
}

interface Pair {
  readonly near: Net.Socket
  readonly far: Net.Socket
}

/**
 * Listens on a free port until the scope ends, and connects whoever comes with `port`, which may be another one for each. If nobody is
 * there, the connection ends.
 * `onBytes` sees all that goes either way.
 */
export const make = Effect.fnUntraced(function*(
  port: number | (() => number),
  onBytes: (bytes: Buffer) => void = () => {}
) {
  const pairs = new Set<Pair>()
  let stalls = 0
  let cutAt: "request" | "answer" | undefined
  let cutsAtNext = 0
  const cutAtData = (what: typeof cutAt, pair: Pair) => () => {
    if (cutAt !== what) return
    cutAt = undefined
    cutsAtNext++
    part(pair)
    sever(pair)
  }

  const accept = (near: Net.Socket) => {
    near.setNoDelay(true)
    const far = Net.connect({
      host: "127.0.0.1",
      port: typeof port === "number" ? port : port(),
      noDelay: true,
      allowHalfOpen: true
    })
    const pair = { near, far }
    pairs.add(pair)
    for (const [one, other] of [[near, far], [far, near]] as const) {
      one.on("error", () => other.destroy())
      one.on("close", () => {
        if (other.closed) pairs.delete(pair)
        // One that ended well has said so, and the other is about to.
        if (!one.readableEnded) other.destroy()
      })
    }
    near.on("data", onBytes)
    far.on("data", onBytes)
    near.on("data", cutAtData("request", pair))
    far.on("data", cutAtData("answer", pair))
    // What is not piped is not read, and so the sender has to wait.
    if (stalls === 0) join(pair)
    else part(pair)
  }
  const server = Net.createServer({ allowHalfOpen: true }, accept)
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const pair of pairs) sever(pair)
      })
  )
  const proxy: TcpProxy = {
    port: (server.address() as Net.AddressInfo).port,
    connections: () => pairs.size,
    cut: (which) =>
      Effect.sync(() => {
        const cut = which === "all" ? [...pairs] : [...pairs].slice(which, which + 1)
        cut.forEach(sever)
        return cut.length
      }),
    cutAtNext: (what) => {
      cutAt = what
    },
    cutsAtNext: () => cutsAtNext,
    stall: Effect.sync(() => {
      if (stalls++ === 0) pairs.forEach(part)
    }),
    stallOne: (which) => Effect.sync(() => part([...pairs][which]!)),
    goOn: Effect.sync(() => {
      if (--stalls === 0) pairs.forEach(join)
    })
  }
  return proxy
})

const join = ({ far, near }: Pair) => {
  if (far.destroyed) return void near.destroy()
  if (near.destroyed) return void far.destroy()
  near.pipe(far)
  far.pipe(near)
}

const part = ({ far, near }: Pair) => {
  near.unpipe(far).pause()
  far.unpipe(near).pause()
}

const sever = ({ far, near }: Pair) => {
  near.resetAndDestroy()
  far.destroy()
}

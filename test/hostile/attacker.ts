/**
 * The process of the attackers, so that they take neither the canary's time nor the broker's. It runs until it is killed.
 *
 *     node attacker.ts <name> <target as JSON>
 */
import { attacks } from "./attacks/all.ts"
import type { Target } from "./stranger.ts"

const [name, target] = process.argv.slice(2) as [string, string]

// The end of a connection is no failure of an attack, but this is.
const fail = (cause: unknown) => process.send!({ failed: cause instanceof Error ? cause.stack : String(cause) })
process.on("uncaughtException", fail)
process.on("unhandledRejection", fail)
// Whoever started it has gone.
process.on("disconnect", () => process.exit(0))

// Connections of an attack that has done all that it does stay.
setInterval(() => {}, 1000)
process.send!({ begun: true })
await attacks.find((attack) => attack.name === name)?.run(JSON.parse(target) as Target)
process.send!({ done: true })

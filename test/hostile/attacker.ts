/**
 * The process of the attackers, so that they take neither the canary's time nor the broker's. It runs until it is killed.
 *
 *     node attacker.ts <name> <target as JSON>
 */
import { attacks } from "./attacks/all.ts"
import type { Target } from "./stranger.ts"

const [name, target] = process.argv.slice(2) as [string, string]

// What happens to an attacker matters to nobody.
process.on("uncaughtException", () => {})
process.on("unhandledRejection", () => {})
// Whoever started it has gone.
process.on("disconnect", () => process.exit(0))
process.send!("begun")

setInterval(() => {}, 1000)
await attacks.find((attack) => attack.name === name)!.run(JSON.parse(target) as Target).catch(() => {})

/**
 * Backends that reach their broker by an encrypted connection.
 */
import { Config } from "effect"
import { Kosmonaut } from "kosmonaut"

// The broker's certificate is signed by an authority of your own.
const Backend = Kosmonaut.layerConfig({
  url: Config.Redacted("KOSMONAUT_URL"),
  transport: { tls: { ca: Config.String("KOSMONAUT_CA") } }
})

// The broker accepts certain keys only.
const Known = Kosmonaut.layerConfig({
  url: Config.Redacted("KOSMONAUT_URL"),
  transport: { curve: { secretKey: Config.Redacted("KOSMONAUT_SECRET_KEY") } }
})

export { Backend, Known }

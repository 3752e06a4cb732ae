/** Holds the quotes. Every fiftieth answer is a 503, which callers never see: their sidecar tries again. */
import { serve } from './serve.js'

const QUOTES = [
  'Abstraction is ever present.',
  'A late night does not make any sense.',
  'A principal idea is omnipresent, much like candy.',
  'Nihilism gambles with lives, happiness, and even destiny itself!',
  'The light at the end of the tunnel is interdependent on the relatedness of motivation.',
  'Utter nonsense is a storyteller without equal.',
  'Non-locality is the driver of truth.',
  'Last night, I had a dream.',
]
const STUMBLE_EVERY = 50

let served = 0

serve(async () => {
  served += 1
  if (served % STUMBLE_EVERY === 0) return { status: 503, body: { error: 'stumbled' } }
  return { status: 200, body: { quote: QUOTES[served % QUOTES.length] } }
})

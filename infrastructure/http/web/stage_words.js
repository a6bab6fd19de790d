// What each stage of the pipeline does and what each verdict judges, for who does not know its name.

/** By the names of stages and projections. @type {Record<string, string>} */
export const STAGE_WORDS = {
  log: "all events in one order",
  tailer: "sends each event on to the projections (change data capture)",
  speed: "the speed of each rider",
  locations: "where each rider is now",
  analytics: "hours of riders and minutes of the fleet, for analysts",
  deliveries: "the stage of each order",
  orders: "what an ETA needs to know of each order",
  traffic: "how fast riders move in each part of the city",
  calibration: "how far ETAs were from the real hand-over",
  payouts: "what riders are paid",
  spoofing: "signs of forged positions, and fraud alerts",
  outcomes: "how orders ended, how long each stage took, and how late they were",
  completion: "when each leg of an order was reached and done, and by what it is known",
};

/** By the names of verdicts. @type {Record<string, string>} */
export const VERDICT_WORDS = {
  "city audit": "states of the city that ETAs were computed from, computed again from the log",
  parity: "answers that were given, computed again from the log",
  "eta parity": "ETAs that were given, computed again from the log",
  "eta model": "the model that computes ETAs, by its name and digest",
  "eta drift": "whether the inputs of ETAs are as they were in training",
  "eta error": "how far ETAs were from the real hand-over",
};

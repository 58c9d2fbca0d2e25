import { classify, type Model, Trainer } from "./classifier.ts";
import { type Corpus, isTraining } from "./corpus.ts";
import { parseMail } from "./parse.ts";

/** Learns from the training part of the whole corpus, whatever part of it is run. Takes about two seconds. */
export async function trainModel(corpus: Corpus): Promise<Model> {
  const trainer = new Trainer();
  for (let index = 0; index < corpus.size; index++) {
    if (isTraining(index)) trainer.add(await parseMail(corpus.read(index)), corpus.entry(index).label);
  }
  return trainer.finish();
}

/** How many of the mails will be answered, which is how often a language model would be asked. */
export async function countAnswered(corpus: Corpus, model: Model, mails: readonly number[]): Promise<number> {
  let answered = 0;
  for (const index of mails) {
    if (classify(model, await parseMail(corpus.read(index))).label === "ham") answered++;
  }
  return answered;
}

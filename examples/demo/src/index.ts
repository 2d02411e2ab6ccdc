export { collectTextFiles, repositoryRoot } from './collect.ts';
export { EMBEDDING_DIMENSION, HashedEmbedder } from './embedder.ts';
export { cutIntoPassages, type Passage, type TextFile } from './passages.ts';

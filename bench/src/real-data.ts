/** Readers of the two file formats in which public vector data comes. Pure; sizes are checked. */

const IDX_IMAGE_MAGIC = 0x00000803;
const IDX_LABEL_MAGIC = 0x00000801;
const IDX_HEADER_SIZE_BYTES = 16;
const IDX_LABEL_HEADER_SIZE_BYTES = 8;

/** IDX images (LeCun): one vector per image, one component per pixel, 0 to 255. */
export function readIdxImages(bytes: Uint8Array): readonly Float32Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.byteLength < IDX_HEADER_SIZE_BYTES || view.getUint32(0) !== IDX_IMAGE_MAGIC) {
    throw new Error('not an IDX file of images');
  }
  const imageCount = view.getUint32(4);
  const pixelCount = view.getUint32(8) * view.getUint32(12);
  if (bytes.byteLength !== IDX_HEADER_SIZE_BYTES + imageCount * pixelCount) {
    throw new Error(`IDX file says ${imageCount} images of ${pixelCount} pixels; its size differs`);
  }
  return Array.from({ length: imageCount }, (_unused, i) => {
    const start = IDX_HEADER_SIZE_BYTES + i * pixelCount;
    return Float32Array.from(bytes.subarray(start, start + pixelCount));
  });
}

/** IDX labels (LeCun): one small number per image. */
export function readIdxLabels(bytes: Uint8Array): readonly number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.byteLength < IDX_LABEL_HEADER_SIZE_BYTES || view.getUint32(0) !== IDX_LABEL_MAGIC) {
    throw new Error('not an IDX file of labels');
  }
  const count = view.getUint32(4);
  if (bytes.byteLength !== IDX_LABEL_HEADER_SIZE_BYTES + count) {
    throw new Error(`IDX file says ${count} labels; its size differs`);
  }
  return Array.from(bytes.subarray(IDX_LABEL_HEADER_SIZE_BYTES));
}

/** .ivecs: per vector a count and that many numbers, all int32 little-endian. */
export function readIvecs(bytes: Uint8Array): readonly (readonly number[])[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const vectors: number[][] = [];
  for (let offset = 0; offset < bytes.byteLength; ) {
    const count = view.getInt32(offset, true);
    const end = offset + 4 + count * 4;
    if (count < 0 || end > bytes.byteLength) throw new Error(`ivecs file is cut at ${offset}`);
    vectors.push(
      Array.from({ length: count }, (_unused, i) => view.getInt32(offset + 4 + i * 4, true)),
    );
    offset = end;
  }
  return vectors;
}

"""Quantizes a GGUF file by llama.cpp's own function, from the libraries that node-llama-cpp brings: python3 quantize.py IN OUT [FTYPE]

FTYPE is a number of llama_ftype (llama.h), 15 (Q4_K_M) unless given. Needs `npm install` in this folder, which `npm run compare` does.
"""

import ctypes
import glob
import os
import platform
import sys

MACHINE = {"x86_64": "linux-x64", "aarch64": "linux-arm64"}[platform.machine()]
HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "node_modules/@node-llama-cpp", MACHINE, "bins", MACHINE)


def library(pattern):
    """A library that finds what was loaded before it."""
    return ctypes.CDLL(sorted(glob.glob(os.path.join(FOLDER, pattern)))[0], ctypes.RTLD_GLOBAL)


class Params(ctypes.Structure):
    """llama_model_quantize_params: of its fields only the first five are named, the rest is room."""

    _fields_ = [
        ("nthread", ctypes.c_int32),
        ("ftype", ctypes.c_int32),
        ("output_tensor_type", ctypes.c_int32),
        ("token_embedding_type", ctypes.c_int32),
        ("allow_requantize", ctypes.c_bool),
        ("rest", ctypes.c_uint8 * 239),
    ]


source, target, *kind = sys.argv[1:]
library("libggml-base.so")
ggml = library("libggml.*so")
library("libllama-common.so")
llama = library("libllama.*so")
llama.llama_model_quantize_default_params.restype = Params
llama.llama_model_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(Params)]
llama.llama_model_quantize.restype = ctypes.c_uint32
ggml.ggml_backend_load_all_from_path.argtypes = [ctypes.c_char_p]

ggml.ggml_backend_load_all_from_path(FOLDER.encode())
llama.llama_backend_init()
params = llama.llama_model_quantize_default_params()
params.ftype = int(kind[0]) if kind else 15
params.allow_requantize = True
sys.exit(llama.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params)))
